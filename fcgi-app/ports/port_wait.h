/* Waits until something listens on a port. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct request;

/* The kernel reports no listen(2): it is looked for this often, and less often after a while. All
 * who wait share the looks. */
struct port_wait {
    unsigned port;
    int64_t timeout_ms;
    int job; /* the directory of a job (borrowed) whose end ends the wait; -1: none */

    /* Sockets that do not count, because they listened there before. */
    uint32_t *before; /* allocated by port_wait_ignore_present() */
    size_t before_count;
};

/* For how long if the request does not say. */
#define PORT_WAIT_MS 10000

enum port_wait_end {
    PORT_LISTENS,
    PORT_TIMEOUT,
    PORT_JOB_ENDED, /* before anything listened */
    PORT_CLIENT_LEFT,
    PORT_STOPPING, /* the server is */
    PORT_UNKNOWN,  /* what listens cannot be seen: errno says why */
};

/* Notes what listens on the port now: that does not count. 0, or -1 with errno. */
int port_wait_ignore_present(struct port_wait *wait);
void port_wait_clear(struct port_wait *wait);

/* Waits for the request (whose body has been read). Thread-safe. */
enum port_wait_end port_wait(struct request *request, const struct port_wait *wait);

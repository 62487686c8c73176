/*
 * POST /wait_port, and the wait itself. It looks first and then pauses, so a wait of no time tells
 * how it is now.
 */
#include "fcgi-app/ports/port_wait.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/directory.h"
#include "common/error_text.h"
#include "common/io.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/ports/port_number.h"
#include "fcgi-app/ports/port_table.h"
#include "procd/log/job_files.h"

#define LOOK_MS      20
#define LOOK_LATE_MS 100
#define LATE_MS      5000 /* so long after its beginning a wait looks less often */
#define SHARED_MS    10   /* a look of another one that is no older will do */

int port_wait_ignore_present(struct port_wait *wait)
{
    cleanup_(listening_clear) struct listening_list list;
    const struct listening_socket *end;
    if (listening_read(&list) < 0) {
        return -1;
    }
    const struct listening_socket *socket = listening_find(&list, wait->port, &end);
    if (socket == NULL) {
        return 0;
    }
    wait->before = calloc((size_t)(end - socket), sizeof(*wait->before));
    if (wait->before == NULL) {
        return -1;
    }
    for (; socket < end; socket++) {
        wait->before[wait->before_count++] = socket->inode;
    }
    return 0;
}

void port_wait_clear(struct port_wait *wait)
{
    free(wait->before);
    wait->before = NULL;
    wait->before_count = 0;
}

/* Pauses. PORT_TIMEOUT when nothing has happened. */
static enum port_wait_end pause_for(const struct request *request, int64_t pause_ms)
{
    struct pollfd others[] = {{.fd = request_fd(request), .events = POLLRDHUP},
                              {.fd = stopping_fd(), .events = POLLIN}};
    (void)io_poll(others, 2, (int)pause_ms);
    return others[0].revents != 0   ? PORT_CLIENT_LEFT
           : others[1].revents != 0 ? PORT_STOPPING
                                    : PORT_TIMEOUT;
}

enum port_wait_end port_wait(struct request *request, const struct port_wait *wait)
{
    int64_t begin = clock_monotonic_ms();
    for (int max_age_ms = 0;; max_age_ms = SHARED_MS) {
        if (port_table_look(max_age_ms) < 0) {
            return PORT_UNKNOWN;
        }
        if (port_table_listens(wait->port, wait->before, wait->before_count)) {
            return PORT_LISTENS;
        }
        if (wait->job >= 0 && directory_has(wait->job, JOB_EXIT_FILE)) {
            return PORT_JOB_ENDED;
        }
        int64_t waited = clock_monotonic_ms() - begin;
        int64_t pause = waited < LATE_MS ? LOOK_MS : LOOK_LATE_MS;
        int64_t left = wait->timeout_ms - waited;
        if (left <= 0) {
            return PORT_TIMEOUT;
        }
        enum port_wait_end end = pause_for(request, left < pause ? left : pause);
        if (end != PORT_TIMEOUT) {
            return end;
        }
    }
}

static void wait_port(struct request *request, const struct json_body *body)
{
    struct port_wait wait = {.port = port_wanted(request, body, "port"),
                             .timeout_ms = (int64_t)json_count(body, "timeout_ms", PORT_WAIT_MS),
                             .job = -1};
    if (wait.port == 0) {
        return;
    }
    enum port_wait_end end = port_wait(request, &wait);
    if (end == PORT_UNKNOWN) {
        answer_error(request, 500, api_error_of_errno(errno), "The ports cannot be listed: %s",
                     error_text(errno));
    } else if (end == PORT_STOPPING) {
        answer_stopping(request);
    } else if (end != PORT_CLIENT_LEFT) {
        answer_fields(request, 200, FIELDS(FLAG_FIELD("listening", end == PORT_LISTENS)));
    }
}

static const struct json_member wait_members[] = {
    {JSON_MEMBER("port", TEXT_OR_INT, "The port."), .required = true,
     .missing = "port is required"},
    {JSON_MEMBER("timeout_ms", COUNT, "The longest time to wait: 10000.")},
};
const struct endpoint wait_port_endpoint = {
    API_ROW(wait_port),
    .about = "Waits until something listens on a port.",
    MEMBERS(wait_members),
    .handle = wait_port,
};

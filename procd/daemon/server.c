#include "procd/daemon/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/daemon/connection.h"
#include "procd/daemon/loop.h"
#include "procd/daemon/requests.h"
#include "procd/wire/protocol.h"

#define ACCEPT_PAUSE_MS 100 /* when there is no descriptor for another client */

static void hear_client(struct watch *watch)
{
    static char packet[MESSAGE_PACKET_MAX];
    struct client *client = (struct client *)watch;
    cleanup_incoming struct incoming request = {0};
    int received = message_receive(watch->fd, packet, sizeof(packet), &request, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
        return;
    }
    if (received < 0 && errno == EPROTONOSUPPORT) {
        log_at(LOG_WARNING,
               "a client speaks another version of procd's protocol: restart fcgi-app");
    }
    /* One request at a time: a client that sends another before the answer is none of ours. */
    bool waits = client->starting != NULL || client->order.job != NULL;
    if (received != 1 || waits || !requests_handle(client, &request)) {
        client_drop(client);
    }
}

static void accept_client(struct watch *watch);
static void accept_again(struct timer *timer);
static struct watch listener = {.fd = -1, .ready = accept_client};
static struct timer accept_timer = {.due = accept_again};
static bool refused; /* the last client, which has been logged */

static void accept_again(struct timer *timer)
{
    (void)timer;
    if (loop_add(&listener) < 0) {
        log_line("cannot listen: %m");
        loop_stop(); /* the supervisor starts another */
    }
}

/* Without a free descriptor the listener would stay ready: it is left alone for a while. */
static void pause_accepting(void)
{
    if (!refused) {
        log_line("cannot accept: %m");
        refused = true;
    }
    loop_remove(&listener);
    accept_timer.at = clock_monotonic_ms() + ACCEPT_PAUSE_MS;
}

static void accept_client(struct watch *watch)
{
    cleanup_fd int fd =
        (int)TEMP_FAILURE_RETRY(accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            pause_accepting();
        }
        return; /* with any other error the client has gone */
    }
    refused = false;
    if (client_add(fd, hear_client) == 0) {
        (void)steal_fd(&fd);
    }
}

int server_open(int fd, const char *run_directory, size_t jobs_max)
{
    requests_init(run_directory, jobs_max);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        return -1;
    }
    loop_add_timer(&accept_timer);
    listener.fd = fd;
    return loop_add(&listener);
}

void server_close(void)
{
    client_drop_all();
    loop_close(&listener);
}

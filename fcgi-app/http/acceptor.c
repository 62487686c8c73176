/*
 * One thread waits for connections of nginx and hands them to the workers.
 */
#include "fcgi-app/http/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/detached_thread.h"
#include "common/io.h"
#include "common/logger.h"
#include "fcgi-app/http/fcgi.h"
#include "fcgi-app/http/workers.h"

#define ACCEPT_BACKOFF_MS 100

static int listener = -1;
static int spare = -1; /* see refuse_with_spare() */

/* The client gave up while it waited in the backlog, and may have asked elsewhere: its request is
 * not begun. */
static bool is_abandoned(int fd)
{
    struct pollfd connection = {.fd = fd, .events = POLLRDHUP};
    return poll(&connection, 1, 0) > 0;
}

/*
 * No descriptor is left for a connection: gives up the spare one, so that a client is refused
 * instead of waiting for as long as other requests last.
 */
static void refuse_with_spare(void)
{
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    if (poll(&waiting, 1, ACCEPT_BACKOFF_MS) > 0) {
        close_fd(&spare);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            fcgi_refuse_request(fd);
        } else {
            (void)poll(NULL, 0, ACCEPT_BACKOFF_MS);
        }
        spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

/* Waits for a connection, also while the process or the system has no descriptors left. */
static int accept_connection(void)
{
    for (bool warned = false;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && !is_abandoned(fd)) {
            return fd;
        }
        if (fd >= 0) {
            (void)close(fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) {
            continue;
        }
        if (!warned) {
            log_at(LOG_WARNING, "accept: %m");
            warned = true;
        }
        if (errno == EMFILE || errno == ENFILE) {
            refuse_with_spare();
        } else {
            (void)poll(NULL, 0, ACCEPT_BACKOFF_MS);
        }
    }
}

static void *accept_connections(void *unused)
{
    (void)unused;
    for (;;) {
        workers_add(accept_connection());
    }
    return NULL;
}

/* ---- start ---- */

static int take_listener(void)
{
    int is_listening = 0;
    socklen_t size = sizeof(is_listening);
    listener = descriptor_take_stdin();
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (listener < 0 || spare < 0 || io_set_nonblocking(listener, 0) < 0 ||
        getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0) {
        return -1;
    }
    errno = ENOTSOCK;
    return is_listening ? 0 : -1;
}

static int raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return -1;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

int acceptor_open(void)
{
    return take_listener() < 0 || raise_descriptor_limit() < 0 ? -1 : 0;
}

int acceptor_start(void)
{
    errno = detached_thread_start(accept_connections, NULL);
    return errno == 0 ? 0 : -1;
}

/*
 * When no descriptor is left a spare one is given up to accept a client and turn it away: it would
 * be reported again and again otherwise.
 */
#include "terminal/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/logger.h"
#include "terminal/loop.h"
#include "terminal/session.h"

#define LISTENER 0

static int spare = -1;

static int open_spare(void)
{
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return spare;
}

static int accept_client(void)
{
    return accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void turn_away_one(void)
{
    static const char answer[] = "Status: 503 Service Unavailable\r\n"
                                 "Content-Type: application/json\r\nRetry-After: 1\r\n\r\n"
                                 "{\"error\":\"Too many connections at once\","
                                 "\"error_code\":\"unavailable\"}";
    close_fd(&spare);
    cleanup_fd int fd = accept_client();
    if (fd >= 0) {
        (void)send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL); /* nginx may have left */
    }
    close_fd(&fd);
    (void)open_spare();
}

static void listener_ready(struct watched *watched, uint32_t events)
{
    (void)watched;
    (void)events;
    int fd = accept_client();
    if (fd >= 0) {
        session_begin(fd);
    } else if (errno == EMFILE || errno == ENFILE) {
        turn_away_one();
    }
}

static struct watched listener = {.fd = LISTENER, .ready = listener_ready};

int nginx_listener_start(void)
{
    if (open_spare() < 0 || io_set_nonblocking(LISTENER, true) < 0) {
        return -1;
    }
    return loop_want(&listener, EPOLLIN);
}

void nginx_listener_stop(void)
{
    (void)loop_want(&listener, 0);
}

/*
 * The runner polls a few descriptors until its last child has ended and both pipes are at their
 * end.
 */
#include "procd/runner/linger.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "procd/process/reap.h"
#include "procd/process/tree_kill.h"
#include "procd/runner/running.h"

enum { SIGNALS, LEASE, FIRST_PIPE, POLLED = FIRST_PIPE + 2 };

void leftover_discard(int *pipe)
{
    static char buffer[16384];
    ssize_t length = io_read_some(*pipe, buffer, sizeof(buffer));
    if (length == 0 || (length < 0 && errno != EAGAIN)) {
        close_fd(pipe);
    }
}

static void linger_step(struct leftover *left, int signals)
{
    struct pollfd polled[POLLED] = {
        [SIGNALS] = {.fd = signals, .events = POLLIN},
        [LEASE] = {.fd = left->lease, .events = POLLIN},
    };
    for (int i = 0; i < 2; i++) {
        int fd = left->lease >= 0 ? -1 : left->pipes[i]; /* poll(2) skips negative ones */
        polled[FIRST_PIPE + i] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    (void)io_poll(polled, POLLED, -1);
    if (polled[SIGNALS].revents != 0 && runner_hears_stop(signals)) {
        tree_signal(SIGTERM, NULL);
    }
    if (polled[LEASE].revents != 0) {
        close_fd(&left->lease); /* the pipes are ours now */
    }
    for (int i = 0; i < 2; i++) {
        if (polled[FIRST_PIPE + i].revents != 0) {
            leftover_discard(&left->pipes[i]);
        }
    }
}

void linger(struct leftover *left, int signals)
{
    while (reap_children(NULL) || left->pipes[0] >= 0 || left->pipes[1] >= 0) {
        linger_step(left, signals);
    }
    close_fd(&left->lease);
    close_fd(&left->pipes[0]);
    close_fd(&left->pipes[1]);
}

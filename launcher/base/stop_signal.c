#include "launcher/base/stop_signal.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "common/cleanup.h"

void stop_signal_block(void)
{
    sigset_t all;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL); /* cannot fail with these arguments */
}

void stop_signal_unblock(void)
{
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int stop_signal_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool stop_signal_waits(void)
{
    cleanup_fd int fd = stop_signal_open();
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, 0) > 0;
}

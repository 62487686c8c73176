#include "launcher/base/stop_signal.h"

#include <signal.h>
#include <sys/signalfd.h>

static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT};

#define COUNT (sizeof(numbers) / sizeof(numbers[0]))

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

bool stop_signal_waits(void)
{
    sigset_t pending;
    bool waits = false;
    (void)sigpending(&pending);
    for (size_t i = 0; i < COUNT; i++) {
        waits = waits || sigismember(&pending, numbers[i]) == 1;
    }
    return waits;
}

int stop_signal_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT; i++) {
        sigaddset(&set, numbers[i]);
    }
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

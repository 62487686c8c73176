/*
 * Waiting for a command, having it, waiting for the next.
 */
#include "procd/runner.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "procd/background.h"
#include "procd/descriptor.h"
#include "procd/foreground.h"
#include "procd/linger.h"
#include "procd/protocol.h"

static char packets[2][MESSAGE_PACKET_MAX]; /* JOB is read while START waits behind it */

/*
 * Every signal is blocked for ever, so that none ends a runner before its tree, and SIGCHLD is read
 * from a descriptor. Dispositions are made default here, once, for all commands.
 */
static int take_signals(void)
{
    sigset_t all;
    sigset_t child;
    sigfillset(&all);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0) {
        return -1;
    }
    /* By the bare call: libc does not let us touch 32 and 33, which it uses for threads. */
    static const char default_action[64];
    for (long number = 1; number < NSIG; number++) {
        (void)syscall(SYS_rt_sigaction, number, default_action, NULL, (long)(NSIG - 1) / 8);
    }
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* procd raises its own soft limit; commands get the one it was started with. */
static void lower_descriptor_limit(long soft)
{
    struct rlimit limit;
    if (soft >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = (rlim_t)soft < limit.rlim_max ? (rlim_t)soft : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            log_line("runner: setrlimit: %m");
        }
    }
}

/* Both return whether the runner is free for the next command; if not, *left is to be stayed for.
 */

static bool run_foreground(struct incoming *message, int signals, struct leftover *left)
{
    cleanup_fd int lease = message_take_descriptor(message, 0);
    if (lease < 0 || message_open(message) < 0) {
        return true; /* the client learns it by the end of the lease */
    }
    return foreground_run(message, &lease, signals, left);
}

static bool run_background(struct incoming *order, int *control, int signals, struct leftover *left)
{
    cleanup_incoming struct incoming command = {0};
    if (message_receive(*control, packets[1], sizeof(packets[1]), &command, 0) != 1) {
        return false;
    }
    if (message_open(order) < 0 || message_open(&command) < 0 || command.type != MESSAGE_START) {
        incoming_clear(order); /* without its directory it is answered with a failure */
        order->fields_length = 0;
    }
    return !background_run(order, &command, control, signals, left);
}

static bool take_message(struct incoming *message, int *control, int signals, struct leftover *left)
{
    switch ((int)message->type) {
    case MESSAGE_RUN:
        return run_foreground(message, signals, left) &&
               message_send_plain(*control, MESSAGE_IDLE) == 0;
    case MESSAGE_JOB:
        return run_background(message, control, signals, left);
    default:
        log_line("runner: message %d is not for a runner", (int)message->type);
        return false;
    }
}

int runner_main(long descriptor_limit)
{
    struct leftover left = {.lease = -1, .pipes = {-1, -1}};
    cleanup_fd int control = descriptor_take_stdin();
    cleanup_fd int signals = take_signals();
    if (control < 0 || signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        log_line("runner: cannot start: %m");
        return 1;
    }
    (void)prctl(PR_SET_NAME, "runner"); /* exec'ed as /proc/self/exe, it would be "exe" in ps */
    lower_descriptor_limit(descriptor_limit);
    bool free_for_next = true;
    while (free_for_next) {
        cleanup_incoming struct incoming message = {0};
        int received = message_receive(control, packets[0], sizeof(packets[0]), &message, 0);
        free_for_next = received == 1 && take_message(&message, &control, signals, &left);
    }
    close_fd(&control);
    linger(&left, signals);
    return 0;
}

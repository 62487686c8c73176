/*
 * There are two moments: the timeout, and the kill after the grace. Both are of the monotonic
 * clock.
 */
#include "procd/runner/running.h"

#include <limits.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "common/clock.h"
#include "common/io.h"
#include "common/logger.h"
#include "procd/cgroup/cgroup_oom.h"
#include "procd/process/runners.h"
#include "procd/process/tree_kill.h"
#include "procd/runner/runner_cgroup.h"

/* A process that cannot be killed in this time belongs to another user or hangs in the kernel. */
#define KILL_TIMEOUT_MS 10000

/* The stop kills after the grace, when clients have got their answers. This is for a stop that does
 * not come that far. */
#define STOP_MS 5000

static int64_t stop_patience_ms;

void running_init(uint64_t grace_ms)
{
    stop_patience_ms = (int64_t)grace_ms + STOP_MS;
}

/* A peer may send any number. */
static int64_t from_now(int64_t ms)
{
    int64_t at;
    return __builtin_add_overflow(clock_monotonic_ms(), ms, &at) ? INT64_MAX : at;
}

int running_start(struct running *running, const struct incoming *command, int input,
                  const struct command_pipes *pipes, spawn_begin_function *begin,
                  const void *context, struct spawn_error *error)
{
    int64_t timeout_ms = message_number(command, FIELD_TIMEOUT_MS, 0);
    int64_t grace_ms = message_number(command, FIELD_GRACE_MS, 0);
    if (runner_cgroup_limit(command, error) < 0) {
        return -1;
    }
    *running = (struct running){.shell = {.oom_kills = cgroup_oom_kills()},
                                .children = true,
                                .timeout_at = timeout_ms > 0 ? from_now(timeout_ms) : 0,
                                .grace_ms = grace_ms > 0 ? grace_ms : 0,
                                .whole_tree = message_number(command, FIELD_WAIT_TREE, 0) != 0,
                                .hangs_up = message_number(command, FIELD_COLS, 0) != 0};
    int result = spawn_shell(command, input, pipes, begin, context, running_patience(running),
                             &running->shell.pid, error);
    running->started = clock_monotonic_ms();
    return result < 0 ? -1 : 0;
}

/* The next moment at which something is due; 0: none. */
static int64_t running_next(const struct running *running)
{
    return running->state == RUNNING_OPEN    ? running->timeout_at
           : running->state == RUNNING_GRACE ? running->kill_at
                                             : 0;
}

int running_patience(const struct running *running)
{
    int64_t at = running_next(running);
    int64_t left = at - clock_monotonic_ms();
    return at == 0 ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

bool running_is_over(const struct running *running)
{
    if (!running->shell.ended || !running->children) {
        return running->shell.ended;
    }
    return running->state == RUNNING_OPEN ? !running->whole_tree : running->state == RUNNING_KILLED;
}

void running_kill(struct running *running, enum end_reason cause)
{
    running->cause = running->state == RUNNING_OPEN ? cause : running->cause;
    running->state = RUNNING_KILLED;
    running->children = tree_kill(&running->shell, KILL_TIMEOUT_MS) < 0;
    if (running->children) {
        log_line("runner: processes of a command could not be killed");
        /* A shell that hangs in the kernel has the signal, which will end it. */
        if (!running->shell.ended) {
            running->shell.ended = true;
            running->shell.wait_status = SIGKILL;
        }
    }
}

static void enter_grace(struct running *running, enum end_reason cause, int64_t kill_at)
{
    running->state = RUNNING_GRACE;
    running->cause = cause;
    running->kill_at = kill_at;
}

void running_order(struct running *running, int64_t grace_ms)
{
    int64_t kill_at = from_now(grace_ms);
    if (running->state == RUNNING_OPEN) {
        enter_grace(running, END_KILLED, kill_at);
    } else if (running->state == RUNNING_GRACE && kill_at < running->kill_at) {
        running->kill_at = kill_at;
    }
}

bool runner_hears_stop(int signals)
{
    struct signalfd_siginfo signal;
    return io_read_some(signals, &signal, sizeof(signal)) == (ssize_t)sizeof(signal) &&
           signal.ssi_signo == RUNNER_STOP_SIGNAL;
}

static void ask_to_end(const struct running *running)
{
    tree_signal(SIGTERM, NULL);
    if (running->hangs_up) {
        tree_signal(SIGHUP, NULL);
    }
}

void running_hear(struct running *running, int signals)
{
    bool stops = runner_hears_stop(signals);
    running->children = reap_children(&running->shell);
    if (stops && running->state == RUNNING_OPEN) {
        ask_to_end(running);
        if (!running->shell.ended || running->whole_tree) {
            running_order(running, stop_patience_ms);
        }
    }
}

void running_serve(struct running *running)
{
    int64_t at = running_next(running);
    if (at == 0 || clock_monotonic_ms() < at ||
        (running->state == RUNNING_OPEN && running_is_over(running))) {
        return;
    }
    if (running->state == RUNNING_OPEN) {
        enter_grace(running, END_TIMEOUT, from_now(running->grace_ms));
        if (running->grace_ms > 0) {
            ask_to_end(running);
            return;
        }
    }
    running_kill(running, running->cause);
}

struct ending running_ending(const struct running *running, enum end_reason reason)
{
    const struct rusage *usage = &running->shell.usage;
    return (struct ending){.code = shell_code(&running->shell),
                           .signal = shell_signal(&running->shell),
                           .reason = reason,
                           .left_children = running->children,
                           .duration_ms = (uint64_t)(clock_monotonic_ms() - running->started),
                           .cpu_user_ms = clock_duration_ms(usage->ru_utime),
                           .cpu_system_ms = clock_duration_ms(usage->ru_stime),
                           .max_rss_kb = (uint64_t)usage->ru_maxrss};
}

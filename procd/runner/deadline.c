/*
 * There are two moments: the timeout, and the kill after the grace. Both are of the monotonic
 * clock.
 */
#include "procd/runner/deadline.h"

#include <limits.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "common/clock.h"
#include "common/io.h"
#include "common/logger.h"
#include "procd/process/runners.h"
#include "procd/process/tree_kill.h"

/* A process that cannot be killed in this time belongs to another user or hangs in the kernel. */
#define KILL_TIMEOUT_MS 10000

/* The stop kills after the grace, when clients have got their answers. This is for a stop that does
 * not come that far. */
#define STOP_MS 5000

static int64_t stop_patience_ms;

void deadline_init(uint64_t grace_ms)
{
    stop_patience_ms = (int64_t)grace_ms + STOP_MS;
}

/* A peer may send any number. */
static int64_t from_now(int64_t ms)
{
    int64_t at;
    return __builtin_add_overflow(clock_monotonic_ms(), ms, &at) ? INT64_MAX : at;
}

struct deadline deadline_of(const struct incoming *command)
{
    int64_t timeout_ms = message_number(command, FIELD_TIMEOUT_MS, 0);
    int64_t grace_ms = message_number(command, FIELD_GRACE_MS, 0);
    return (struct deadline){.timeout_at = timeout_ms > 0 ? from_now(timeout_ms) : 0,
                             .grace_ms = grace_ms > 0 ? grace_ms : 0,
                             .whole_tree = message_number(command, FIELD_WAIT_TREE, 0) != 0};
}

/* The next moment at which something is due; 0: none. */
static int64_t next(const struct deadline *deadline)
{
    switch (deadline->state) {
    case DEADLINE_OPEN:
        return deadline->timeout_at;
    case DEADLINE_GRACE:
        return deadline->kill_at;
    default:
        return 0;
    }
}

int deadline_patience(const struct deadline *deadline)
{
    int64_t at = next(deadline);
    int64_t left = at - clock_monotonic_ms();
    return at == 0 ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

bool deadline_is_over(const struct deadline *deadline, const struct shell *shell, bool children)
{
    if (!shell->ended || !children) {
        return shell->ended;
    }
    return deadline->state == DEADLINE_OPEN ? !deadline->whole_tree
                                            : deadline->state == DEADLINE_KILLED;
}

void deadline_kill(struct deadline *deadline, enum end_reason cause, struct shell *shell,
                   bool *children)
{
    deadline->cause = deadline->state == DEADLINE_OPEN ? cause : deadline->cause;
    deadline->state = DEADLINE_KILLED;
    *children = tree_kill(shell, KILL_TIMEOUT_MS) < 0;
    if (*children) {
        log_line("runner: processes of a command could not be killed");
        if (!shell->ended) { /* it hangs in the kernel; the signal that it has will end it */
            shell->ended = true;
            shell->wait_status = SIGKILL;
        }
    }
}

static void enter_grace(struct deadline *deadline, enum end_reason cause, int64_t kill_at)
{
    deadline->state = DEADLINE_GRACE;
    deadline->cause = cause;
    deadline->kill_at = kill_at;
}

void deadline_order(struct deadline *deadline, int64_t grace_ms)
{
    int64_t kill_at = from_now(grace_ms);
    if (deadline->state == DEADLINE_OPEN) {
        enter_grace(deadline, END_KILLED, kill_at);
    } else if (deadline->state == DEADLINE_GRACE && kill_at < deadline->kill_at) {
        deadline->kill_at = kill_at;
    }
}

void deadline_stop(struct deadline *deadline, int64_t grace_ms, const struct shell *shell)
{
    if (deadline->state != DEADLINE_OPEN) {
        return;
    }
    tree_signal(SIGTERM);
    if (!shell->ended || deadline->whole_tree) {
        deadline_order(deadline, grace_ms < 0 ? stop_patience_ms : grace_ms);
    }
}

bool deadline_hear_stop(int signals)
{
    struct signalfd_siginfo signal;
    return io_read_some(signals, &signal, sizeof(signal)) == (ssize_t)sizeof(signal) &&
           signal.ssi_signo == RUNNER_STOP_SIGNAL;
}

void deadline_serve(struct deadline *deadline, struct shell *shell, bool *children)
{
    int64_t at = next(deadline);
    if (at == 0 || clock_monotonic_ms() < at ||
        (deadline->state == DEADLINE_OPEN && deadline_is_over(deadline, shell, *children))) {
        return;
    }
    if (deadline->state == DEADLINE_OPEN) {
        enter_grace(deadline, END_TIMEOUT, from_now(deadline->grace_ms));
        if (deadline->grace_ms > 0) {
            tree_signal(SIGTERM);
            return;
        }
    }
    deadline_kill(deadline, deadline->cause, shell, children);
}

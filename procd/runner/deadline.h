/*
 * The end that a command is to have: a timeout, an order, or both. First it is told (by SIGTERM to
 * the tree, or the order's signal to the group), and after a time of grace the tree is killed. In
 * the runner; the shell that ends by itself before comes to its end as if there were none of this.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_RUNNER_DEADLINE_H
#define PROCD_RUNNER_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "procd/process/reap.h"
#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

/* All times are of clock_monotonic_ms(), 0 is none. */
struct deadline {
    int64_t timeout_at;
    int64_t grace_ms;      /* at the timeout */
    bool whole_tree;       /* the command is not over before all that it has started */
    int64_t kill_at;       /* the tree has been told to end */
    enum end_reason cause; /* END_TIMEOUT or END_KILLED once the tree is to end, otherwise
                              END_UNKNOWN */
};

/* How long commands have when the server stops (settings.stop_grace_ms). To call at first. */
void deadline_init(uint64_t stop_grace_ms);

/* As the command's message asks for. */
struct deadline deadline_of(const struct incoming *command);

/* How long poll(2) may wait, -1 for ever. */
int deadline_patience(const struct deadline *deadline);

/* Whether the command is over: the shell has ended, and if the tree is to end, or is what counts,
 * it has as well. */
bool deadline_is_over(const struct deadline *deadline, const struct shell *shell, bool children);

/* Does what is due, and notes ends in *shell and *children. */
void deadline_serve(struct deadline *deadline, struct shell *shell, bool *children);

/* The tree is to end because of an order: it has been told, and has `grace_ms` from now on. */
void deadline_order(struct deadline *deadline, int64_t grace_ms);

/*
 * The server stops (`grace_ms` is -1), or whom the command is for: the tree gets SIGTERM, and
 * SIGKILL when that time is over. The stop of a server kills by itself when SANDBOX_STOP_GRACE is
 * over. A tree that is to end already is left to that, so that nobody is told twice.
 */
void deadline_stop(struct deadline *deadline, int64_t grace_ms, const struct shell *shell);

/* Reads a signal from a runner's signalfd. Whether it was RUNNER_STOP_SIGNAL, and not SIGCHLD. */
bool deadline_hear_stop(int signals);

/* Kills the tree now: *children is false when nothing is left. */
void deadline_kill(struct deadline *deadline, enum end_reason cause, struct shell *shell,
                   bool *children);

#endif

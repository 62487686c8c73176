/*
 * How a command is made to end: by a timeout, an order, or both. It first gets a signal (SIGTERM to
 * the tree, or the order's signal to the group), and after a time of grace the tree is killed. A
 * shell that ends by itself before is not affected.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "procd/process/reap.h"
#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

/*
 *   OPEN -> GRACE    an order, a stop or the timeout: the command has got its signal
 *   GRACE -> GRACE   an order with less grace than is left
 *   any -> KILLED    the grace is over, or there is none
 */
enum deadline_state { DEADLINE_OPEN, DEADLINE_GRACE, DEADLINE_KILLED };

/* All times are of clock_monotonic_ms(). */
struct deadline {
    enum deadline_state state;
    int64_t timeout_at;    /* 0: none */
    int64_t grace_ms;      /* at the timeout */
    bool whole_tree;       /* the command is over only when everything that it has started is */
    int64_t kill_at;       /* in the grace */
    enum end_reason cause; /* END_UNKNOWN while it is open, then END_TIMEOUT or END_KILLED */
};

/* How long commands have when the server stops (settings.stop_grace_ms). To call first. */
void deadline_init(uint64_t stop_grace_ms);

/* The deadline that the command's message asks for. */
struct deadline deadline_of(const struct incoming *command);

/* How long poll(2) may wait, -1 for ever. */
int deadline_patience(const struct deadline *deadline);

/* Whether the command is over: the shell has ended, and so has the whole tree if that is to end or
 * is waited for and can be killed. */
bool deadline_is_over(const struct deadline *deadline, const struct shell *shell, bool children);

/* Does what is due, and notes ends in *shell and *children. */
void deadline_serve(struct deadline *deadline, struct shell *shell, bool *children);

/* An order ends the tree: it has got its signal, and has `grace_ms` from now on. */
void deadline_order(struct deadline *deadline, int64_t grace_ms);

/*
 * The server stops (`grace_ms` is -1), or the program that the command is for: the tree gets
 * SIGTERM, and SIGKILL when that time is over. The stop of a server kills by itself when
 * SANDBOX_STOP_GRACE is over. A tree that is to end already is left alone, so that no process gets
 * the signal twice.
 */
void deadline_stop(struct deadline *deadline, int64_t grace_ms, const struct shell *shell);

/* Reads a signal from a runner's signalfd. Whether it was RUNNER_STOP_SIGNAL, and not SIGCHLD. */
bool deadline_hear_stop(int signals);

/* Kills the tree now: *children is false when nothing is left. */
void deadline_kill(struct deadline *deadline, enum end_reason cause, struct shell *shell,
                   bool *children);

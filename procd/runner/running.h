/*
 * A command that runs: its shell and what that has started, and how they are made to end: by a
 * timeout, an order, or both. The command first gets a signal (SIGTERM to the tree, and SIGHUP if
 * it has a terminal; or the order's signal to the group), and after a time of grace the tree is
 * killed. A shell that ends by itself before is not affected.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "procd/process/reap.h"
#include "procd/runner/spawn.h"
#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

/*
 *   OPEN -> GRACE    an order, a stop or the timeout: the command has got its signal
 *   GRACE -> GRACE   an order with less grace than is left
 *   any -> KILLED    the grace is over, or there is none
 */
enum running_state { RUNNING_OPEN, RUNNING_GRACE, RUNNING_KILLED };

/* All times are of clock_monotonic_ms(). */
struct running {
    struct shell shell;
    bool children; /* some are left */
    int64_t started;
    enum running_state state;
    int64_t timeout_at;    /* 0: none */
    int64_t grace_ms;      /* at the timeout */
    bool whole_tree;       /* the command is over only when everything that it has started is */
    bool hangs_up;         /* it has a terminal: an interactive shell ignores SIGTERM */
    int64_t kill_at;       /* in the grace */
    enum end_reason cause; /* END_UNKNOWN while it is open, then END_TIMEOUT or END_KILLED */
};

/* How long commands have when the server stops (settings.stop_grace_ms). To call first. */
void running_init(uint64_t stop_grace_ms);

/* Puts the limits of an opened message in force and starts its shell, as spawn_shell() has it. 0;
 * or -1 with *error. */
int running_start(struct running *running, const struct incoming *command, int input,
                  const struct command_pipes *pipes, spawn_begin_function *begin,
                  const void *context, struct spawn_error *error);

/* How long poll(2) may wait, -1 for ever. */
int running_patience(const struct running *running);

/* Whether the command is over: the shell has ended, and so has the whole tree if that is to end or
 * is waited for and can be killed. */
bool running_is_over(const struct running *running);

/*
 * Takes a signal from a runner's signalfd, and reaps. When the server stops the tree gets SIGTERM,
 * and SIGKILL some time after SANDBOX_STOP_GRACE; the stop kills by itself when that is over. A
 * tree that is to end already is left alone, so that no process gets the signal twice.
 */
void running_hear(struct running *running, int signals);

/* Does what is due. */
void running_serve(struct running *running);

/* An order ends the tree: it has got its signal, and has `grace_ms` from now on. */
void running_order(struct running *running, int64_t grace_ms);

/* Kills the tree now: `children` is false when nothing is left. */
void running_kill(struct running *running, enum end_reason cause);

/* How it has ended, for that reason. */
struct ending running_ending(const struct running *running, enum end_reason reason);

/* Reads a signal from a runner's signalfd. Whether it was RUNNER_STOP_SIGNAL, and not SIGCHLD. */
bool runner_hears_stop(int signals);

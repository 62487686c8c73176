/*
 * Ending what dead runners have left.
 *
 * While a runner lives its commands are below it, whatever they do. When it is killed they come to
 * the next subreaper above: to procd, if that has started the runner, and else, because that procd
 * has died before, to the supervisor. Every child of procd that is no runner is a dead runner's,
 * and so is every child of the supervisor that bears the mark of commands (mark.h) and is no
 * runner. Where the runner had a cgroup that tells the same at once, of processes at any depth
 * (cgroup.h).
 *
 * Where the supervisor is none of ours (under systemd it is process 1, and its children are the
 * machine's) these are left alone, and the cgroups are all that tells. So a runner begins no
 * command there before it is in its own.
 *
 * What an ended command has left running on purpose has a runner that lives (linger.h).
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_DAEMON_SWEEP_H
#define PROCD_DAEMON_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Makes this process the subreaper of its runners and orders a first sweep, for the runners that
 * have died while there was no procd; those that live are watched from then on. The loop must be
 * open, and `run_directory` live as long. 0, or -1 with errno.
 */
int sweep_open(const char *run_directory);

/* Whether what the runners of a dead procd leave comes to a supervisor of ours. Otherwise only
 * their cgroups tell what it is: then no command may run outside of one. */
bool sweep_has_supervisor(void);

/* Notes a child of this process that is a runner, until it is reaped. 0, or -1 with errno: then
 * it must not be used. */
int sweep_add_runner(pid_t runner);

/* How many runners live, those of an earlier procd included. */
size_t sweep_runner_count(void);

/* Reaps the children that have ended, and orders a sweep if one of them calls for it. */
void sweep_reap(void);

/* Has `failed` called for each runner of ours that could not start: it has ended with an error, or
 * by a fault of its own. */
void sweep_tell_failures(void (*failed)(void));

#endif

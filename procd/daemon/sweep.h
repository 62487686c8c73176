/*
 * Ending what dead runners have left.
 *
 * While a runner lives its commands are below it, whatever they do. When it is killed the next
 * subreaper above inherits them: the procd that started the runner, or the supervisor if that procd
 * has died before. So every child of procd that is no runner is a dead runner's, and so is every
 * child of the supervisor that bears the mark of commands (mark.h) and is no runner. Where runners
 * have cgroups, these show the same at once, for processes at any depth (cgroup.h).
 *
 * Under systemd the supervisor is process 1, whose children are the machine's: they are left alone,
 * and only the cgroups show what dead runners have left. So there a runner begins no command before
 * it is in its own cgroup.
 *
 * What an ended command has left running on purpose has a runner that lives (linger.h).
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "procd/process/process_table.h"

/*
 * Makes this process the subreaper of its runners and orders a first sweep, for the runners that
 * have died while there was no procd; those that live are watched from then on. The loop must be
 * open, and `run_directory` live as long. 0, or -1 with errno.
 */
int sweep_open(const char *run_directory);

/* Whether a supervisor of ours inherits what the runners of a dead procd leave. Otherwise only
 * their cgroups show that, and no command may run outside of one. */
bool sweep_has_supervisor(void);

/* Notes a child of this process as a runner, until it is reaped. 0, or -1 with errno: then it must
 * not be used. */
int sweep_add_runner(pid_t runner);

/* How many runners live, those of an earlier procd included. */
size_t sweep_runner_count(void);

/* Appends the pids of these runners. 0, or -1 with errno. */
int sweep_list_runners(struct pid_list *list);

/* Reaps the children that have ended, and orders a sweep if one of them calls for it. How many of
 * them were runners that could not start: they ended with an error, or by a fault of their own. */
unsigned sweep_reap(void);

/*
 * Kills or signals all descendants of a process, whatever sessions, groups and names they have
 * given themselves. The subreaper of a tree needs no privilege for that, because orphans become its
 * children.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "procd/process/reap.h"

/*
 * Kills and reaps all descendants of this process, which must be a subreaper and have SIGCHLD
 * blocked. Notes the end of `shell` (may be NULL). 0 when none is left; -1 when some could not be
 * killed within `timeout_ms` (processes of another user, or in an uninterruptible sleep).
 */
int tree_kill(struct shell *shell, int timeout_ms);

/* Whether a child is to be left alone, with all below it. */
typedef bool tree_spare_function(pid_t child);

/*
 * Sends `signal` to all descendants of this process, to a parent before its children, and SIGCONT
 * after it, so that stopped processes take it; but not to the children that `spared` (may be NULL)
 * names.
 */
void tree_signal(int signal, tree_spare_function *spared);

/*
 * One round of killing: kills the children of `parent`, and all below them, but those that `spared`
 * (may be NULL) names. Neither waits nor reaps. `parent` is this process and `parent_held` is -1;
 * or it is another and held (process_hold.h). Returns how many children that are not spared it has
 * met. Killed processes may leave orphans, so the work is done when a round meets none. -1 with
 * errno when the process table cannot be read.
 */
ssize_t tree_kill_round(pid_t parent, int parent_held, tree_spare_function *spared);

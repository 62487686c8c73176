/*
 * Killing everything below this process, whatever sessions, groups and names it has given itself.
 * It works for the subreaper of a tree without any privilege: what loses its parent comes to us.
 */
#ifndef PROCD_TREE_KILL_H
#define PROCD_TREE_KILL_H

#include "procd/reap.h"

/*
 * Kills and reaps all descendants of this process, which must be a subreaper and have SIGCHLD
 * blocked. Notes the end of `shell` (may be NULL). 0 when none is left; -1 when some could not be
 * killed within `timeout_ms` (processes of another user, or in an uninterruptible sleep).
 */
int tree_kill(struct shell *shell, int timeout_ms);

#endif

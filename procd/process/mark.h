/*
 * A mark on the processes of commands. They inherit it from their runner and keep it, whatever else
 * they change: a soft limit on file locks (RLIMIT_LOCKS) below that of the server's own processes.
 * The kernel inherits and shows it, and has enforced it in Linux 2.4 only (getrlimit(2)).
 *
 * The hard limit goes down with it. Only a command that is root can raise it again, and then is no
 * longer recognised; it has no reason to do so.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Marks this process, a runner, and what it will start. 0, or -1 with errno. */
int mark_self(void);

/* Whether a process has been marked below `ancestor`; not when that is unknown. */
bool mark_is_on(pid_t pid, pid_t ancestor);

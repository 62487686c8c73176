/*
 * A runner's own cgroup, which its commands are born in, and the limits that are in force there.
 * One for each process; single-threaded callers only.
 */
#pragma once

#include <stdbool.h>

#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

struct settings;

/* Remembers where cgroups are made (borrowed; NULL: nowhere), and the operator's limits. */
void runner_cgroup_init(const char *path, const struct settings *settings);

/* Enters a new one and sets the operator's limits. To call once, while no command waits, because
 * the kernel makes us wait for it. A failure is logged, and tried again when a command needs it.
 * Returns whether we are in one. */
bool runner_cgroup_enter_early(void);

/*
 * Puts in force the limits that the fields memory_max, pids_max and cpu_max of an opened message
 * ask for, and the operator's for the others. To call before each command. 0; -1 with *error, and
 * then the command must not start.
 */
int runner_cgroup_limit(const struct incoming *command, struct spawn_error *error);

/*
 * Whether the next command would have the memory that it is promised. Files in memory (tmpfs,
 * memfd, shared memory) and data in the kernel (System V messages and semaphores, the content of a
 * pipe that another process holds) stay charged to the cgroup in which a command made them; the
 * next command would be killed for them. To ask after each command, whether or not it had a limit
 * itself; true where memory is not accounted.
 */
bool runner_cgroup_is_clean(void);

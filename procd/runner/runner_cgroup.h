/*
 * A runner's own cgroup, which its commands are born in, and the limits that are in force there.
 * One for each process; single-threaded callers only.
 */
#ifndef PROCD_RUNNER_RUNNER_CGROUP_H
#define PROCD_RUNNER_RUNNER_CGROUP_H

#include <stdbool.h>

#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

struct settings;

/* Remembers where cgroups are made (borrowed; NULL: nowhere), and the operator's limits. */
void runner_cgroup_init(const char *path, const struct settings *settings);

/* Enters a new one and sets the operator's limits: to call once, while nobody waits, because the
 * kernel makes us wait for it. What fails is logged, and tried again when a command needs it.
 * Returns whether we are in one. */
bool runner_cgroup_enter_early(void);

/*
 * Puts in force what the fields memory_max, pids_max and cpu_max of an opened message ask for, and
 * the operator's limits for what they do not. To call before each command. 0; -1 with *error, and
 * then the command must not start.
 */
int runner_cgroup_limit(const struct incoming *command, struct spawn_error *error);

/*
 * Whether the next command would have the memory that it is promised. What a command leaves in
 * files in memory (tmpfs, memfd, shared memory) and in the kernel (System V messages and
 * semaphores, what is in a pipe that another holds) stays charged to the cgroup that it was made
 * in: the next would be killed for it. To ask after each command, whether or not it had a limit
 * itself; true where memory is not accounted.
 */
bool runner_cgroup_is_clean(void);

#endif

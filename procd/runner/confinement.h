/*
 * The confinement of commands: the user they run as, their limits, and their score for the
 * out-of-memory killer. A runner, which has one thread, prepares it once, and each child takes it
 * on between clone(2) and execve(2). The runner itself keeps its rights, since it must be able to
 * end whatever the commands start.
 */
#pragma once

#include <stdbool.h>

#include "common/resource_limit.h"
#include "common/settings.h"

struct user;

/*
 * Prepares this process, a runner, for the commands of `user` (NULL: our own; borrowed for ever).
 * Its umask and environment become those that a runner of this user needs, and if commands may not
 * gain rights, it may not either. `inherited`, RESOURCE_LIMITS of them or NULL, are the limits of
 * commands where this process has others. 0, or -1 with errno.
 */
int confinement_prepare(const struct settings *settings, const struct user *user,
                        const struct resource_limit *inherited);

/* Whether the out-of-memory killer can be made to prefer commands to the daemons: not where /proc
 * may not be written to. There they have the daemons' score. */
bool confinement_can_rank(void);

/*
 * Takes on the limits and becomes the user: in the child, by system calls alone. To call before the
 * file system is touched in the command's name. 0, or -1 with errno.
 */
int confinement_enter(void);

/*
 * A child is born with the out-of-memory score of its parent, so this process has that of commands
 * from just before clone(2) until the child has executed. The child cannot write a score of its
 * own: the kernel gives it to all processes that share the memory, so to this one as well. The
 * kernel looks for them among all processes at each write, even after the child has executed
 * (MMF_MULTIPROCESS in __set_oom_adj()), so two writes a command are the least. A child that still
 * hangs at the restoration gets this process's score.
 */
void confinement_rank(bool as_command);

/* Gives the pipe or file behind a descriptor to the user of commands, who otherwise could not open
 * it again as /dev/stdout or /dev/stdin. 0, or -1 with errno. */
int confinement_give(int fd);

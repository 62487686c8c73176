/*
 * What commands may not: the user they run as, their limits, their place in the queue of the
 * out-of-memory killer. Prepared once by a runner, which has one thread, and taken on by each child
 * between clone(2) and execve(2); the runner itself keeps its rights, since it has to end what
 * they start.
 */
#ifndef PROCD_RUNNER_CONFINEMENT_H
#define PROCD_RUNNER_CONFINEMENT_H

#include <stdbool.h>

#include "common/resource_limit.h"
#include "common/settings.h"

struct user;

/*
 * Prepares this process, a runner, for its commands: those of `user` (NULL: ours; kept, must
 * outlive us). Its umask and environment become what a runner of theirs needs, and if they may not
 * gain rights, it may not either. `inherited`, RESOURCE_LIMITS of them or NULL, are what commands
 * have where we have others. 0, or -1 with errno.
 */
int confinement_prepare(const struct settings *settings, const struct user *user,
                        const struct resource_limit *inherited);

/* Whether commands can be made to go before the daemons when memory is out: not where /proc may not
 * be written to. Then they run as the daemons do. */
bool confinement_can_rank(void);

/*
 * Takes on the limits and becomes the user: in the child, system calls only. To be called before
 * anything of the file system is touched in the command's name. 0, or -1 with errno.
 */
int confinement_enter(void);

/*
 * A child is born with the out-of-memory score of its parent, so this process has that of commands
 * from just before clone(2) until the child has executed. The child cannot do it: the kernel gives
 * a new oom_score_adj to all processes that share memory (__set_oom_adj()), and looks for them
 * among all that there are. A child that still hangs at the restoration gets this process's score.
 */
void confinement_raise_oom_score(void);
void confinement_restore_oom_score(void);

/* Gives the pipe or file behind a descriptor to the user of commands, who could not open it again
 * as /dev/stdout or /dev/stdin otherwise. 0, or -1 with errno. */
int confinement_give(int fd);

#endif

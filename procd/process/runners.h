/*
 * The runners of a run directory as other processes see them: whether a process is one, and the
 * order to all of them to end their commands, with which a stop of the server begins.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_PROCESS_RUNNERS_H
#define PROCD_PROCESS_RUNNERS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "procd/process/process_table.h"

/* A runner's command line begins with these and, as the option's value, the run directory. */
#define RUNNER_NAME   "procd"
#define RUNNER_OPTION "--runner"

/* A runner that gets this sends SIGTERM to all that it owns, once, and kills the command that it
 * has some time after SANDBOX_STOP_GRACE, if that has not been done. A runner without a command
 * does so to its next one. */
#define RUNNER_STOP_SIGNAL SIGPWR

/* Whether a process is a runner of this run directory, going by its real user, which is ours, and
 * its command line: 1, 0, or -1 when that cannot be told. */
int runner_is(pid_t pid, const char *run_directory);

/* The runners that a stop looks at, in rounds. Zeros but for the run directory (borrowed) at
 * first. */
struct runners {
    const char *run_directory;
    bool order;           /* each runner that is met gets RUNNER_STOP_SIGNAL, once */
    struct pid_list told; /* those that got it */
    size_t living;        /* that were met since it was set to 0 */
};

void runners_clear(struct runners *runners);

/* Looks at one process, which may be any; `runners` is a struct runners. Always true. */
bool runners_meet(void *runners, pid_t pid);

/* Looks at what is below a process, but not at what is below a runner. What the process table does
 * not show is met in a later round. */
void runners_meet_below(struct runners *runners, pid_t top);

#endif

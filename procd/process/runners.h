/*
 * The runners of a run directory as other processes see them: how to recognise one, and how to
 * order all of them to end their commands, which is the beginning of a stop of the server.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "procd/process/process_table.h"

/* A runner's command line begins with these and, as the option's value, the run directory. */
#define RUNNER_NAME   "procd"
#define RUNNER_OPTION "--runner"

/* A runner that gets this sends SIGTERM to all that it owns, once, and kills its command some time
 * after SANDBOX_STOP_GRACE, unless the stop has killed it. A runner without a command does so to
 * its next one. */
#define RUNNER_STOP_SIGNAL SIGPWR

/* Whether a process is a runner of this run directory, by its real user, which is ours, and its
 * command line: 1, 0, or -1 when that is unknown. */
int runner_is(pid_t pid, const char *run_directory);

/* The runners that a stop looks at, in rounds. Everything but the run directory (borrowed) is zero
 * at first. */
struct runners {
    const char *run_directory;
    bool order;                /* each runner that is met gets RUNNER_STOP_SIGNAL, once */
    struct pid_list signalled; /* those that got it */
    size_t living;             /* that were met since it was set to 0 */
};

void runners_clear(struct runners *runners);

/* Looks at one process, which may be any; `runners` is a struct runners. Always true. */
bool runners_meet(void *runners, pid_t pid);

/* A look misses a process whose parent ends meanwhile, since it has another parent then, or whose
 * sibling does, since the kernel's list may skip it (proc_pid_task_children(5)). So no runner is
 * left when this many looks in a row, with a pause between them, find none. */
#define RUNNERS_EMPTY_LOOKS 2

/* Looks at the descendants of a process, except those of a runner. A process that the table does
 * not show yet is met in a later round. */
void runners_meet_below(struct runners *runners, pid_t top);

/*
 * The children of a runner: its shell, and the orphans of its tree, which the kernel gives to the
 * runner as the tree's subreaper.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "procd/wire/words.h"

struct shell {
    pid_t pid;
    int64_t oom_kills; /* cgroup_oom_kills() before it was started */
    bool ended;
    int wait_status; /* as waitpid(2) gives it; valid once it has ended, as is usage */
    struct rusage usage;
};

/*
 * Reaps every child that has ended, and notes the end of the shell if it is one of them (`shell`
 * may be NULL). Whether a child is left.
 */
bool reap_children(struct shell *shell);

/* The exit code, -1 after a signal; and the signal, 0 after an exit. */
int shell_code(const struct shell *shell);
int shell_signal(const struct shell *shell);

/*
 * What ended the shell, if nobody ended it on purpose: END_EXIT, END_SIGNAL, or END_OOM when it was
 * killed and the kernel has killed for want of memory since the shell was started. A shell that
 * survives such a kill of its child and exits with a code of its own has exited.
 */
enum end_reason shell_reason(const struct shell *shell);

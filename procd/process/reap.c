/*
 * Reaps with WNOHANG alone, so it never waits.
 */
#include "procd/process/reap.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "procd/cgroup/cgroup_oom.h"

bool reap_children(struct shell *shell)
{
    for (;;) {
        int status;
        struct rusage usage;
        pid_t pid = wait4(-1, &status, WNOHANG, &usage);
        if (pid == 0) {
            return true;
        }
        if (pid < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false; /* ECHILD */
        }
        if (shell != NULL && pid == shell->pid && !shell->ended) {
            shell->ended = true;
            shell->wait_status = status;
            shell->usage = usage;
        }
    }
}

int shell_code(const struct shell *shell)
{
    return WIFEXITED(shell->wait_status) ? WEXITSTATUS(shell->wait_status) : -1;
}

int shell_signal(const struct shell *shell)
{
    return WIFSIGNALED(shell->wait_status) ? WTERMSIG(shell->wait_status) : 0;
}

/* A shell whose command was killed exits with this (POSIX: more than 128; sh: 128 + signal). */
#define CODE_OF_KILLED (128 + SIGKILL)

enum end_reason shell_reason(const struct shell *shell)
{
    bool killed = shell_signal(shell) == SIGKILL || shell_code(shell) == CODE_OF_KILLED;
    if (killed && shell->oom_kills >= 0 && cgroup_oom_kills() > shell->oom_kills) {
        return END_OOM;
    }
    return shell_signal(shell) != 0 ? END_SIGNAL : END_EXIT;
}

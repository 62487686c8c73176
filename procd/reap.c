/*
 * Reaping without waiting.
 */
#include "procd/reap.h"

#include <errno.h>
#include <sys/wait.h>

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

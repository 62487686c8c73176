/*
 * By pidfds; by directories in /proc where pidfds are refused.
 */
#include "procd/process/process_hold.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "common/directory.h"

/* The errors of a kernel without the system call, and of a seccomp filter that does not know it. */
static bool is_refusal(int error)
{
    return error == ENOSYS || error == EPERM;
}

int process_hold(pid_t pid)
{
    char path[32];
    int pidfd = pidfd_open(pid, 0);
    if (pidfd >= 0 || !is_refusal(errno)) {
        return pidfd;
    }
    (void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 && errno == ENOENT) {
        errno = ESRCH;
    }
    return directory;
}

int process_held_signal(int held, pid_t pid, int signal)
{
    /* From Linux 5.1 on for a directory in /proc as well. EPERM may be about the process; then
     * kill(2) reports it again. */
    if (pidfd_send_signal(held, signal, NULL, 0) == 0) {
        return 0;
    }
    if (!is_refusal(errno)) {
        return -1;
    }
    if (!directory_has(held, "stat") && errno != ENOTDIR) {
        errno = ESRCH;
        return -1;
    }
    return kill(pid, signal);
}

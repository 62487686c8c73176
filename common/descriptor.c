/*
 * Standard descriptors in order.
 */
#include "common/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/cleanup.h"

int descriptor_take_stdin(void)
{
    cleanup_fd int taken = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    cleanup_fd int nothing = taken < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0) {
        return -1;
    }
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        if (nothing == fd) {
            /* It was closed and is this one now: let it stay, in the children too. */
            (void)steal_fd(&nothing);
            if (fcntl(fd, F_SETFD, 0) < 0) {
                return -1;
            }
        } else if (fcntl(fd, F_GETFD) < 0 && dup2(STDIN_FILENO, fd) < 0) {
            return -1;
        }
    }
    return steal_fd(&taken);
}

void descriptor_close_inherited(void)
{
    (void)close_range(STDERR_FILENO + 1, ~0U, 0); /* fails only where there is no such call */
}

#include "common/descriptor.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/cleanup.h"

/* A file in which a read finds nothing. A command may have removed /dev/null: then the read end of
 * a pipe without a writer. */
static int open_nothing(void)
{
    int ends[2];
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0 || pipe2(ends, O_CLOEXEC) < 0) {
        return fd;
    }
    (void)close(ends[1]);
    return ends[0];
}

int descriptor_take_stdin(void)
{
    cleanup_fd int taken = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    cleanup_fd int nothing = taken < 0 ? -1 : open_nothing();
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0) {
        return -1;
    }
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        if (nothing == fd) {
            /* The descriptor was closed and is this one now: it stays, in the children too. */
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

char *descriptor_path(int fd, char path[DESCRIPTOR_PATH_SIZE])
{
    (void)snprintf(path, DESCRIPTOR_PATH_SIZE, "/proc/self/fd/%d", fd);
    return path;
}

#include "common/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"

#define PIPE_SIZE    (1 << 20) /* the most that a user without rights may set */
#define MEMORY_MAJOR 1         /* of /dev/null and its like (Linux, admin-guide/devices) */

bool log_output_has_reader(const struct stat *file)
{
    return S_ISFIFO(file->st_mode) || S_ISSOCK(file->st_mode) ||
           (S_ISCHR(file->st_mode) && major(file->st_rdev) != MEMORY_MAJOR);
}

/* One write(2) to a pipe or a terminal. RWF_NOWAIT works for pipes from Linux 6.4 on, and never for
 * terminals. Without it another process may take the room between poll(2) and write(2). */
static ssize_t write_now(int fd, const char *line, size_t length)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)line, .iov_len = length};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK) != 0) {
        return write(fd, line, length);
    }
    ssize_t written = pwritev2(fd, &piece, 1, -1, RWF_NOWAIT);
    if (written >= 0 || errno == EAGAIN || errno == EINTR || errno == EPIPE) {
        return written;
    }
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    if (poll(&room, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, line, length);
}

int log_output_write(int fd, const char *line, size_t length)
{
    struct stat file;
    if (fstat(fd, &file) < 0) {
        return -1;
    }
    bool has_reader = log_output_has_reader(&file);
    ssize_t written = TEMP_FAILURE_RETRY(S_ISSOCK(file.st_mode)
                                             ? send(fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL)
                                         : has_reader ? write_now(fd, line, length)
                                                      : write(fd, line, length));
    if (written >= 0 && (size_t)written < length) {
        errno = has_reader ? EAGAIN : ENOSPC;
        return -1;
    }
    return written < 0 ? -1 : 0;
}

void log_output_detach(int fd)
{
    char path[DESCRIPTOR_PATH_SIZE];
    struct stat file;
    if (fstat(fd, &file) < 0 || !log_output_has_reader(&file) || S_ISSOCK(file.st_mode)) {
        return;
    }
    cleanup_fd int own =
        open(descriptor_path(fd, path), O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0 || dup2(own, fd) < 0) {
        return;
    }
    if (S_ISFIFO(file.st_mode) && fcntl(fd, F_GETPIPE_SZ) < PIPE_SIZE) {
        (void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
    }
}

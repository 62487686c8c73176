#include "common/descriptor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"

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

/* One by one, where the kernel is older than close_range(2) (Linux 5.9) or a seccomp filter refuses
 * it. To close a number while /proc/self/fd is read may hide others, so it is read until nothing is
 * left but the stream itself. */
static int close_each(int first)
{
    cleanup_directory DIR *entries = opendir("/proc/self/fd");
    if (entries == NULL) {
        return -1;
    }
    bool again = true;
    while (again) {
        again = false;
        rewinddir(entries);
        for (const char *name; (name = directory_next(entries)) != NULL;) {
            int fd = (int)strtol(name, NULL, 10);
            again = (fd >= first && fd != dirfd(entries) && close(fd) == 0) || again;
        }
        if (errno != 0) {
            return -1;
        }
    }
    return 0;
}

/* And where there is no /proc: every number that may be one. */
static int close_all_numbers(int first)
{
    const rlim_t most = 1 << 20;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return -1;
    }
    int end = (int)(limit.rlim_max < most ? limit.rlim_max : most);
    for (int fd = first; fd < end; fd++) {
        (void)close(fd);
    }
    return 0;
}

int descriptor_close_from(int first)
{
    return close_range((unsigned)first, ~0U, 0) == 0 || close_each(first) == 0
               ? 0
               : close_all_numbers(first);
}

int descriptor_close_inherited(void)
{
    return descriptor_close_from(STDERR_FILENO + 1);
}

char *descriptor_path(int fd, char path[DESCRIPTOR_PATH_SIZE])
{
    (void)snprintf(path, DESCRIPTOR_PATH_SIZE, "/proc/self/fd/%d", fd);
    return path;
}

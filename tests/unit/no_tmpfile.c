/*
 * openat(2) as on a file system without O_TMPFILE.
 */
#include "tests/unit/no_tmpfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>

int no_tmpfile;

/* The names are the linker's. NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_openat(int fd, const char *path, int flags, ...);
int __wrap_openat(int fd, const char *path, int flags, ...);

int __wrap_openat(int fd, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    bool makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    mode_t mode = makes ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (no_tmpfile != 0 && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = no_tmpfile;
        return -1;
    }
    return __real_openat(fd, path, flags, mode);
}
/* NOLINTEND(bugprone-reserved-identifier) */

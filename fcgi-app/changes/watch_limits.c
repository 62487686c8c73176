#include "fcgi-app/changes/watch_limits.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/io.h"

/* The value of a setting of the kernel; -1 if it cannot be read. */
static long read_setting(const char *path)
{
    char text[32];
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : io_read_some(fd, text, sizeof(text) - 1);
    if (length <= 0) {
        return -1;
    }
    text[length] = '\0';
    return strtol(text, NULL, 10);
}

/* A user namespace may have a limit of its own below that of the machine. */
static const char *describe_limit(char reason[WATCH_REASON_SIZE], const char *what,
                                  const char *machines, const char *namespaces)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", machines);
    long most = read_setting(path);
    (void)snprintf(path, sizeof(path), "/proc/sys/user/%s", namespaces);
    long here = read_setting(path);
    bool is_lower = here >= 0 && (most < 0 || here < most);
    (void)snprintf(reason, WATCH_REASON_SIZE, "The kernel's limit on %s is reached: %s%s is %ld",
                   what, is_lower ? "user." : "fs.inotify.", is_lower ? namespaces : machines,
                   is_lower ? here : most);
    return reason;
}

const char *watch_limits_reason(int number, char reason[WATCH_REASON_SIZE])
{
    if (number == ENOSPC) {
        return describe_limit(reason, "watched directories", "max_user_watches",
                              "max_inotify_watches");
    }
    if (number == WATCH_NO_INSTANCE) {
        return describe_limit(reason, "instances of inotify", "max_user_instances",
                              "max_inotify_instances");
    }
    (void)snprintf(reason, WATCH_REASON_SIZE, "The directories cannot be watched: %s",
                   error_text(number));
    return reason;
}

/*
 * "pid (name) state parent ...", and the name may hold anything, ")" too.
 */
#include "common/process_stat.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"

bool process_stat_read(pid_t pid, struct process_stat *stat)
{
    char path[32];
    char text[1024];
    int parent;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : io_read_some(fd, text, sizeof(text) - 1);
    text[length > 0 ? length : 0] = '\0';
    const char *after_name = strrchr(text, ')');
    /* The third, the fourth and the 22nd field. */
    if (after_name == NULL ||
        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
        sscanf(after_name,
               ") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
               "%" SCNu64,
               &stat->state, &parent, &stat->started) != 3) {
        return false;
    }
    stat->parent = (pid_t)parent;
    return true;
}

int64_t process_age_ms(pid_t pid)
{
    struct process_stat stat;
    if (!process_stat_read(pid, &stat)) {
        return -1;
    }
    uint64_t started_ms = stat.started * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    return (int64_t)(clock_boot_ns() / 1000000U - started_ms);
}

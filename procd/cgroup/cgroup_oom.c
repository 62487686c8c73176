/*
 * memory.events is looked for once and stays open.
 */
#include "procd/cgroup/cgroup_oom.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "common/cleanup.h"
#include "procd/cgroup/cgroup_limits.h"
#include "procd/cgroup/cgroup_place.h"

static struct {
    int fd;
    bool searched;
} memory_events = {.fd = -1};

void cgroup_oom_forget(void)
{
    close_fd(&memory_events.fd);
    memory_events.searched = false;
}

static int open_memory_events(void)
{
    char path[PATH_MAX];
    size_t mount_length;
    if (cgroup_find_own(path, &mount_length) < 0) {
        return -1;
    }
    for (;;) {
        cleanup_fd int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int fd = directory < 0 ? -1 : openat(directory, "memory.events", O_RDONLY | O_CLOEXEC);
        char *slash = strrchr(path, '/');
        if (fd >= 0 || slash == NULL || (size_t)(slash - path) < mount_length) {
            return fd;
        }
        *slash = '\0';
    }
}

int64_t cgroup_oom_kills(void)
{
    if (!memory_events.searched) {
        memory_events.searched = true;
        memory_events.fd = open_memory_events();
    }
    return cgroup_read_number(memory_events.fd, "oom_kill");
}

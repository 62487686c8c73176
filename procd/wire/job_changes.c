#include "procd/wire/job_changes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "common/run_files.h"

static _Atomic uint64_t *counted;

int job_changes_open(const char *run_directory)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/" RUN_JOB_CHANGES, run_directory) >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    cleanup_fd int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    /* A page that the disk has no room for would be a SIGBUS later. */
    int error = fd < 0 ? errno : posix_fallocate(fd, 0, sizeof(*counted));
    if (error != 0) {
        errno = error;
        return -1;
    }
    void *page = mmap(NULL, sizeof(*counted), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return -1;
    }
    counted = page;
    return 0;
}

void job_changes_count(void)
{
    atomic_fetch_add(counted, 1);
}

uint64_t job_changes_counted(void)
{
    return atomic_load(counted);
}

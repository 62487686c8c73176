/*
 * The file is two numbers, which are overwritten in place (a full disk has room for that) under a
 * lock. A process that does not get the lock at once, since its holder may have been stopped, adds
 * its lines later.
 */
#include "common/log_drops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/io.h"
#include "common/run_files.h"

static int file = -1;
static atomic_int_least64_t pending; /* not in the file yet */
/* Locks of fcntl(2) belong to a process; this one is for its threads. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

int log_drops_open(const char *run_directory)
{
    char path[PATH_MAX + 16]; /* a longer one is refused by open(2) */
    (void)snprintf(path, sizeof(path), "%s/" RUN_LOG_DROPS, run_directory);
    file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    return file < 0 ? -1 : 0;
}

static int read_drops(struct log_drops *drops)
{
    *drops = (struct log_drops){0};
    return io_read_at(file, drops, sizeof(*drops), 0) < 0 ? -1 : 0;
}

/* With the lock. */
static void add_pending(void)
{
    struct log_drops drops;
    int64_t lines = atomic_exchange(&pending, 0);
    if (read_drops(&drops) == 0) {
        drops.lines += lines;
        drops.last_ms = (int64_t)(clock_ns(CLOCK_BOOTTIME) / 1000000U);
        if (pwrite(file, &drops, sizeof(drops), 0) == (ssize_t)sizeof(drops)) {
            return;
        }
    }
    atomic_fetch_add(&pending, lines);
}

static void flush_drops(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (file < 0 || atomic_load(&pending) == 0 || pthread_mutex_trylock(&mutex) != 0) {
        return;
    }
    if (fcntl(file, F_SETLK, &lock) == 0) {
        add_pending();
        lock.l_type = F_UNLCK;
        (void)fcntl(file, F_SETLK, &lock);
    }
    (void)pthread_mutex_unlock(&mutex);
}

void log_drops_add(int64_t lines)
{
    int saved = errno;
    atomic_fetch_add(&pending, lines);
    flush_drops();
    errno = saved;
}

int log_drops_read(struct log_drops *drops)
{
    flush_drops();
    if (file < 0) {
        errno = EBADF;
        return -1;
    }
    if (read_drops(drops) < 0) {
        return -1;
    }
    drops->lines += atomic_load(&pending);
    return 0;
}

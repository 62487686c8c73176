#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"

#define POLL_PAUSE_MS 100

int io_write_all(int fd, const void *data, size_t length)
{
    const char *at = data;
    while (length > 0) {
        ssize_t written = TEMP_FAILURE_RETRY(write(fd, at, length));
        if (written < 0) {
            return -1;
        }
        at += written;
        length -= (size_t)written;
    }
    return 0;
}

ssize_t io_read_full(int fd, void *data, size_t length)
{
    size_t filled = 0;
    ssize_t got = 1;
    while (filled < length && got > 0) {
        got = io_read_some(fd, (char *)data + filled, length - filled);
        filled += got > 0 ? (size_t)got : 0;
    }
    return got < 0 ? -1 : (ssize_t)filled;
}

ssize_t io_read_some(int fd, void *data, size_t length)
{
    return TEMP_FAILURE_RETRY(read(fd, data, length));
}

ssize_t io_read_at(int fd, void *data, size_t length, off_t offset)
{
    return TEMP_FAILURE_RETRY(pread(fd, data, length, offset));
}

int io_poll(struct pollfd *polled, nfds_t count, int timeout_ms)
{
    static const struct timespec pause = {.tv_nsec = POLL_PAUSE_MS * 1000000L};
    int ready = poll(polled, count, timeout_ms);
    if (ready >= 0) {
        return ready;
    }
    if (errno != EINTR) {
        log_at(LOG_WARNING, "poll: %m");
        (void)nanosleep(&pause, NULL);
    }
    for (nfds_t i = 0; i < count; i++) {
        polled[i].revents = 0;
    }
    return 1;
}

int io_set_nonblocking(int fd, int enabled)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) {
        return -1;
    }
    int wanted = enabled ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted == flags ? 0 : fcntl(fd, F_SETFL, wanted);
}

int io_open_regular(int directory, const char *name, int flags)
{
    struct stat status;
    cleanup_fd int fd =
        openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) < 0) {
        return -1;
    }
    if (!S_ISREG(status.st_mode)) {
        errno = EBADMSG;
        return -1;
    }
    return steal_fd(&fd);
}

int io_random_name(char name[IO_RANDOM_NAME_SIZE], const char *prefix)
{
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return -1;
    }
    char *end = stpcpy(name, prefix);
    for (int shift = 60; shift >= 0; shift -= 4) {
        *end++ = "0123456789abcdef"[random >> shift & 15];
    }
    *end = '\0';
    return 0;
}

int io_open_temporary(int directory, const char *prefix, mode_t mode,
                      char name[IO_RANDOM_NAME_SIZE])
{
    int fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
    name[0] = '\0';
    /* Old kernels answer EISDIR or ENOENT, file systems EOPNOTSUPP or EINVAL. */
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == EISDIR || errno == ENOENT) &&
        io_random_name(name, prefix) == 0) {
        fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    if (fd < 0) {
        name[0] = '\0';
    }
    return fd;
}

int io_open_nameless(int directory)
{
    char name[IO_RANDOM_NAME_SIZE];
    int fd = io_open_temporary(directory, ".nameless-", 0600, name);
    if (name[0] != '\0') {
        (void)unlinkat(directory, name, 0);
    }
    return fd;
}

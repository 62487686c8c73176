#include "fcgi-app/files/fs_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/logger.h"

#define FIFO_PATIENCE 1000       /* ms that a FIFO's reader may take to make room */
#define PIECE_SIZE    (64 << 10) /* of content that is copied */

bool fs_is_shortage(int number)
{
    return number == ENOSPC || number == EDQUOT || number == ENOMEM || number == EMFILE ||
           number == ENFILE || number == EIO;
}

int fs_bytes_write(int fd, const char *data, size_t length)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    while (length > 0) {
        ssize_t written = TEMP_FAILURE_RETRY(write(fd, data, length));
        errno = written == 0 ? EIO : errno;
        if (written > 0) {
            data += written;
            length -= (size_t)written;
        } else if (errno != EAGAIN || io_poll(&writable, 1, FIFO_PATIENCE) == 0) {
            return -1;
        }
    }
    return 0;
}

int fs_bytes_copy(int from, int to, off_t begin, off_t end)
{
    cleanup_free char *piece = malloc(PIECE_SIZE);
    if (piece == NULL || lseek(to, begin, SEEK_SET) < 0) {
        return -1;
    }
    while (begin < end) {
        size_t wanted = end - begin < PIECE_SIZE ? (size_t)(end - begin) : PIECE_SIZE;
        ssize_t got = io_read_at(from, piece, wanted, begin);
        if (got <= 0) {
            errno = got == 0 ? EIO : errno;
            return -1;
        }
        if (fs_bytes_write(to, piece, (size_t)got) != 0) {
            return -1;
        }
        begin += got;
    }
    return 0;
}

/*
 * Makes sure that the disk has room for `size` bytes in the file, so that the old content is not
 * lost to a full disk. Succeeds where the file system cannot reserve room. 0 or -1 with errno.
 */
static int reserve_room(int fd, off_t size)
{
    int result = 0;
    if (size > 0) {
        do { /* the size stays: a failure half-way leaves no zeros at the end */
            result = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size);
        } while (result != 0 && errno == EINTR);
    }
    return result != 0 && (fs_is_shortage(errno) || errno == EFBIG) ? -1 : 0;
}

/* Gives back what a file was to grow by, reserved or written; errno stays. */
static void shrink_back(int fd, off_t size, const char *path)
{
    int number = errno;
    if (ftruncate(fd, size) != 0) {
        log_at(LOG_WARNING, "%s is too long after a write that failed: %m", path);
    }
    errno = number;
}

int fs_bytes_replace(int from, int to, off_t old, off_t size, const char *path, bool *is_damaged)
{
    if (reserve_room(to, size) != 0 || (size > old && fs_bytes_copy(from, to, old, size) != 0)) {
        shrink_back(to, old, path);
        return -1;
    }
    off_t rest = size < old ? size : old;
    *is_damaged = true;
    return (rest > 0 && fs_bytes_copy(from, to, 0, rest) != 0) || ftruncate(to, size) != 0 ? -1 : 0;
}

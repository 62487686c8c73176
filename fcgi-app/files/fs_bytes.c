#include "fcgi-app/files/fs_bytes.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"

#define FIFO_PATIENCE 1000       /* ms that a FIFO's reader may take to make room */
#define PIECE_SIZE    (64 << 10) /* of content that is copied */

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

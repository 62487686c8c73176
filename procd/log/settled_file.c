/*
 * What a reader finds may be half of one write and half of the next; it reads until it has found
 * the same twice.
 */
#include "procd/log/settled_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/io.h"

#define ATTEMPTS 100

ssize_t settled_file_read(int directory, const char *name, char data[SETTLED_FILE_MAX])
{
    char again[SETTLED_FILE_MAX];
    cleanup_fd int fd = io_open_regular(directory, name, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : io_read_at(fd, data, SETTLED_FILE_MAX, 0);
    for (int attempt = 0; length >= 0 && attempt < ATTEMPTS; attempt++) {
        ssize_t length_again = io_read_at(fd, again, SETTLED_FILE_MAX, 0);
        if (length_again == length && memcmp(data, again, (size_t)length) == 0) {
            return length;
        }
        length = length_again;
        memcpy(data, again, length < 0 ? 0 : (size_t)length);
    }
    if (length >= 0) {
        errno = EBADMSG;
    }
    return -1;
}

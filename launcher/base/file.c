#include "launcher/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"

char *file_read(int directory, const char *path, size_t most)
{
    cleanup_fd int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    cleanup_free char *data = malloc(most + 2);
    if (data == NULL) {
        return NULL;
    }
    ssize_t got = io_read_full(fd, data, most + 1);
    if (got < 0) {
        return NULL;
    }
    data[got] = '\0';
    if ((size_t)got > most || strlen(data) != (size_t)got) {
        explicit_bzero(data, (size_t)got); /* it may be a secret */
        errno = (size_t)got > most ? EFBIG : EILSEQ;
        return NULL;
    }
    return steal_pointer(data);
}

const char *file_skip_mark(const char *text)
{
    size_t length = strlen(BYTE_ORDER_MARK);
    return strncmp(text, BYTE_ORDER_MARK, length) == 0 ? text + length : text;
}

const char *file_reason(int number)
{
    return number == EFBIG    ? "is too large"
           : number == EILSEQ ? "holds a NUL byte"
                              : strerror(number);
}

int file_write(int directory, const char *path, mode_t mode, const char *data, size_t length)
{
    cleanup_fd int fd = openat(directory, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, mode) < 0 || io_write_all(fd, data, length) < 0) {
        return -1;
    }
    return close(steal_fd(&fd));
}

int file_make_dir(int directory, const char *path, mode_t mode)
{
    if (mkdirat(directory, path, 0700) < 0) {
        return -1;
    }
    return fchmodat(directory, path, mode, 0);
}

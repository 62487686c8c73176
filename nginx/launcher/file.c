/*
 * Whole small files and directories.
 */
#include "nginx/launcher/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"

char *file_read(int directory, const char *path, size_t most, size_t *length)
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
    if ((size_t)got > most) {
        explicit_bzero(data, most + 1); /* it may be a secret */
        errno = EFBIG;
        return NULL;
    }
    data[got] = '\0';
    if (length != NULL) {
        *length = (size_t)got;
    }
    return steal_pointer(data);
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

static int remove_entry(int directory, const char *name)
{
    if (unlinkat(directory, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR) { /* what Linux says of a directory */
        return -1;
    }
    cleanup_fd int child = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0 || file_empty_dir(child) < 0) {
        return -1;
    }
    return unlinkat(directory, name, AT_REMOVEDIR);
}

static void close_stream(DIR **stream)
{
    if (*stream != NULL) {
        (void)closedir(*stream);
    }
}

/* A stream of its own for the directory, from its first entry. NULL with errno. */
static DIR *open_stream(int directory)
{
    cleanup_fd int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream != NULL) {
        (void)steal_fd(&fd); /* the stream's now */
    }
    return stream;
}

/* The next name but "." and "..". NULL at the end, with errno 0, or on error. */
static const char *next_name(DIR *stream)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            return NULL;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            return entry->d_name;
        }
    }
}

int file_empty_dir(int directory)
{
    cleanup_(close_stream) DIR *stream = open_stream(directory);
    if (stream == NULL) {
        return -1;
    }
    for (const char *name; (name = next_name(stream)) != NULL;) {
        if (remove_entry(directory, name) < 0) {
            return -1;
        }
    }
    return errno == 0 ? 0 : -1;
}

int file_dir_is_empty(int directory)
{
    cleanup_(close_stream) DIR *stream = open_stream(directory);
    if (stream == NULL) {
        return -1;
    }
    if (next_name(stream) != NULL) {
        return 0;
    }
    return errno == 0 ? 1 : -1;
}

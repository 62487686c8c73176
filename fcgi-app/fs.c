/*
 * The short file-system calls. Writing a file is in fs_write.c, removing a tree in fs_tree.c.
 */
#include "fcgi-app/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/fs_names.h"

__attribute__((format(printf, 2, 3))) static int fail_because(struct fs_error *error,
                                                              const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
    return -1;
}

int fs_fail(struct fs_error *error, int number, const char *operation, const char *path)
{
    /* the path is cut, so that the reason is never */
    return fail_because(error, "%s %.4400s: %s", operation, path, strerror(number));
}

/* 0 when `path` may be opened for reading without waiting and without side effects. */
static int check_readable_kind(const char *path, mode_t mode, struct fs_error *error)
{
    if (S_ISREG(mode)) {
        return 0;
    }
    if (S_ISDIR(mode)) {
        return fs_fail(error, EISDIR, "read", path);
    }
    return fail_because(error, "read %.4400s: Not a regular file", path);
}

int fs_open(const char *path, uint64_t *size, struct fs_error *error)
{
    struct stat status;
    /* Looked at before it is opened: to open a FIFO or a device can have effects. */
    if (stat(path, &status) != 0) {
        return fs_fail(error, errno, "open", path);
    }
    if (check_readable_kind(path, status.st_mode, error) != 0) {
        return -1;
    }
    cleanup_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        return fs_fail(error, errno, "open", path);
    }
    if (check_readable_kind(path, status.st_mode, error) != 0) {
        return -1;
    }
    *size = (uint64_t)status.st_size;
    return steal_fd(&fd);
}

int fs_delete_file(const char *path, struct fs_error *error)
{
    return unlink(path) == 0 ? 0 : fs_fail(error, errno, "remove", path);
}

/*
 * mkdir(2), to which a directory that is there is no failure, and the umask does not matter (a bit
 * that the new directory has from its parent, as set-group-ID, stays). 0 or -1 with errno.
 */
static int ensure_directory(const char *path)
{
    struct stat status;
    if (mkdir(path, 0755) != 0) {
        int number = errno;
        if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
            return 0;
        }
        errno = number;
        return -1;
    }
    if (stat(path, &status) != 0) {
        return -1;
    }
    return (status.st_mode & 0755) == 0755 ? 0 : chmod(path, (status.st_mode & 07777) | 0755);
}

int fs_make_directory(const char *path, struct fs_error *error)
{
    if (ensure_directory(path) == 0) {
        return 0;
    }
    if (errno != ENOENT) {
        return fs_fail(error, errno, "mkdir", path);
    }
    cleanup_free char *parent = strdup(path);
    if (parent == NULL) {
        return fs_fail(error, ENOMEM, "mkdir", path);
    }
    for (char *slash = parent; (slash = strchr(slash + 1, '/')) != NULL;) {
        *slash = '\0';
        if (ensure_directory(parent) != 0) {
            return fs_fail(error, errno, "mkdir", parent);
        }
        *slash = '/';
    }
    return ensure_directory(path) == 0 ? 0 : fs_fail(error, errno, "mkdir", path);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int fs_list(const char *path, char ***names, size_t *count, struct fs_error *error)
{
    cleanup_directory DIR *directory = opendir(path);
    if (directory == NULL) {
        return fs_fail(error, errno, "open", path);
    }
    cleanup_(fs_names_clear) struct fs_names list = {.names = NULL};
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            fs_names_add(&list, entry->d_name) != 0) {
            return fs_fail(error, ENOMEM, "read", path);
        }
    }
    if (errno != 0) {
        return fs_fail(error, errno, "read", path);
    }
    if (list.count > 0) {
        qsort(list.names, list.count, sizeof(*list.names), compare_names);
    }
    *count = list.count;
    *names = list.names;
    list = (struct fs_names){.names = NULL};
    return 0;
}

void fs_list_free(char **names, size_t count)
{
    struct fs_names list = {.names = names, .count = count};
    fs_names_clear(&list);
}

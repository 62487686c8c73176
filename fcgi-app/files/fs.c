/*
 * The short file-system calls. Writing a file is in fs_write.c.
 */
#include "fcgi-app/files/fs.h"

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
#include "common/directory.h"
#include "common/error_text.h"
#include "common/name_list.h"
#include "common/tree.h"
#include "fcgi-app/files/fs_path.h"

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
    return fail_because(error, "%s %.4400s: %s", operation, path, error_text(number));
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

int fs_list(const char *path, struct name_list *names, struct fs_error *error)
{
    cleanup_directory DIR *directory = opendir(path);
    if (directory == NULL) {
        return fs_fail(error, errno, "open", path);
    }
    for (const char *name; (name = directory_next(directory)) != NULL;) {
        if (name_list_add(names, name) != 0) {
            return fs_fail(error, ENOMEM, "read", path);
        }
    }
    if (errno != 0) {
        return fs_fail(error, errno, "read", path);
    }
    name_list_sort(names);
    return 0;
}

/* ---- removing ---- */

static int delete_tree(struct fs_place *place, const char *path)
{
    if (fs_place_open(place, path) != 0) {
        return errno == ENOENT ? 0 : -1;
    }
    return tree_remove(place->directory, place->name);
}

int fs_delete_tree(const char *path, struct fs_error *error)
{
    cleanup_(fs_place_clear) struct fs_place place;
    return delete_tree(&place, path) == 0 ? 0 : fs_fail(error, errno, "remove", path);
}

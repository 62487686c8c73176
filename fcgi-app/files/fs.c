/*
 * What one or a few system calls do. Writing a file takes more: fs_write.c.
 */
#include "fcgi-app/files/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/error_text.h"
#include "common/name_list.h"
#include "common/tree.h"
#include "fcgi-app/files/fs_path.h"

#define SHOWN_MAX 4400 /* bytes of a path in an error; the reason is never cut */

__attribute__((format(printf, 3, 4))) static int
fail_because(struct fs_error *error, enum api_error code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error->code = code;
    (void)vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
    return -1;
}

int fs_fail(struct fs_error *error, int number, const char *operation, const char *path)
{
    return fail_because(error, api_error_of_errno(number), "%s %.*s: %s", operation, SHOWN_MAX,
                        path, error_text(number));
}

int fs_refuse(struct fs_error *error, enum api_error code, const char *operation, const char *path,
              const char *reason)
{
    return fail_because(error, code, "%s %.*s: %s", operation, SHOWN_MAX, path, reason);
}

/* 0 for a regular file; otherwise -1 with *error filled. */
static int require_regular(const char *path, mode_t mode, struct fs_error *error)
{
    if (S_ISREG(mode)) {
        return 0;
    }
    return S_ISDIR(mode) ? fs_fail(error, EISDIR, "read", path)
                         : fs_refuse(error, ERROR_unsupported, "read", path, "Not a regular file");
}

int fs_open(const char *path, struct stat *status, struct fs_error *error)
{
    /* Looked at before it is opened, because opening a FIFO or a device can have effects. A
     * program that puts one there between these two calls could open it itself. */
    if (stat(path, status) != 0) {
        return fs_fail(error, errno, "open", path);
    }
    if (require_regular(path, status->st_mode, error) < 0) {
        return -1;
    }
    cleanup_fd int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, status) != 0) {
        return fs_fail(error, errno, "open", path);
    }
    if (require_regular(path, status->st_mode, error) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}

int fs_stat(const char *path, bool no_follow, struct stat *status, struct fs_error *error)
{
    return (no_follow ? lstat : stat)(path, status) == 0 ? 0 : fs_fail(error, errno, "stat", path);
}

int fs_delete_file(const char *path, struct fs_error *error)
{
    return unlink(path) == 0 ? 0 : fs_fail(error, errno, "remove", path);
}

/* ---- making directories ---- */

/*
 * Opens a directory of a path and makes it where it is missing. A link is followed, except one that
 * somebody puts in the place of what is made. The mode is never changed, because the directory may
 * be somebody else's by then. The descriptor, or -1 with errno.
 */
static int open_or_make(int parent, const char *name)
{
    int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT) {
        return fd;
    }
    if (mkdirat(parent, name, 0755) != 0 && errno != EEXIST) {
        return -1;
    }
    fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOTDIR) {
        errno = EEXIST; /* a link to nowhere, as for mkdir(2) */
    }
    return fd;
}

/* Goes along `path`, which is cut after the component that failed then. 0, or -1 with errno. */
static int make_along(char *path)
{
    cleanup_fd int directory = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (char *name = path + strspn(path, "/"); directory >= 0 && *name != '\0';) {
        char *end = name + strcspn(name, "/"), separator = *end;
        char *next = end + strspn(end, "/");
        *end = '\0';
        int fd = open_or_make(directory, name);
        close_fd(&directory);
        directory = fd;
        if (fd < 0) {
            errno = errno == ENOTDIR && *next == '\0' ? EEXIST : errno;
            return -1;
        }
        *end = separator;
        name = next;
    }
    return directory < 0 ? -1 : 0;
}

int fs_make_directory(const char *path, struct fs_error *error)
{
    if (strlen(path) >= PATH_MAX) {
        return fs_fail(error, ENAMETOOLONG, "mkdir", path);
    }
    cleanup_free char *way = strdup(path);
    if (way == NULL) {
        return fs_fail(error, ENOMEM, "mkdir", path);
    }
    return make_along(way) == 0 ? 0 : fs_fail(error, errno, "mkdir", way);
}

int fs_make_parents(const char *path, struct fs_error *error)
{
    cleanup_free char *directory = strdup(path);
    char *slash = directory == NULL ? NULL : strrchr(directory, '/');
    if (directory == NULL) {
        return fs_fail(error, ENOMEM, "mkdir", path);
    }
    if (slash == NULL || slash == directory) {
        return 0; /* the root is there */
    }
    *slash = '\0';
    return fs_make_directory(directory, error);
}

/* ---- listing ---- */

int fs_list(const char *path, struct name_list *names, int *directory, struct fs_error *error)
{
    cleanup_directory DIR *entries = opendir(path);
    if (entries == NULL) {
        return fs_fail(error, errno, "open", path);
    }
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        if (name_list_add(names, name) != 0) {
            return fs_fail(error, ENOMEM, "read", path);
        }
    }
    if (errno != 0) {
        return fs_fail(error, errno, "read", path);
    }
    name_list_sort(names);
    if (directory == NULL) {
        return 0;
    }
    *directory = fcntl(dirfd(entries), F_DUPFD_CLOEXEC, 0);
    return *directory < 0 ? fs_fail(error, errno, "open", path) : 0;
}

/* ---- removing ---- */

/* Fills *error for `refused`, which is seen from the directory of `path`; NULL is `path` itself. */
static int fail_at(struct fs_error *error, int number, const char *path, const char *refused)
{
    if (refused == NULL) {
        return fs_fail(error, number, "remove", path);
    }
    size_t length, depth = strlen(refused);
    int directory = (int)(fs_name(path, &length) - path);
    if ((size_t)directory + depth <= SHOWN_MAX) {
        return fail_because(error, api_error_of_errno(number), "remove %.*s%s: %s", directory, path,
                            refused, error_text(number));
    }
    /* deep down: the end names the entry */
    depth = depth > SHOWN_MAX ? depth - SHOWN_MAX : 0;
    return fail_because(error, api_error_of_errno(number), "remove ...%s: %s", refused + depth,
                        error_text(number));
}

int fs_delete_tree(const char *path, struct fs_error *error)
{
    cleanup_(fs_place_clear) struct fs_place place;
    cleanup_free char *refused = NULL;
    if (fs_place_open(&place, path) != 0) {
        return errno == ENOENT ? 0 : fs_fail(error, errno, "remove", path);
    }
    return tree_remove_naming(place.directory, place.name, &refused) == 0
               ? 0
               : fail_at(error, errno, path, refused);
}

#include "fcgi-app/files/served_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "fcgi-app/files/fs_path.h"

/* Whether it takes room on some disk or in memory: no file of /proc or /sys does. */
static bool has_blocks(const struct stat *status)
{
    return S_ISREG(status->st_mode) && status->st_blocks > 0;
}

/* Looks a path up without the links of /proc. Where the kernel cannot tell them, nothing in /proc
 * is looked up. */
static int look_up(const char *path, int flags)
{
    int fd = fs_open_plain(path, flags | O_PATH);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) {
        return fd;
    }
    if (strncmp(path, "/proc/", strlen("/proc/")) == 0) {
        errno = ELOOP;
        return -1;
    }
    return openat(AT_FDCWD, path, flags | O_PATH | O_CLOEXEC);
}

/* Always -1. */
static int refuse_own(const char *path, const char *operation, struct fs_error *error)
{
    return fs_refuse(error, ERROR_permission_denied, operation, path,
                     "It belongs to the server's own process, or is what a process has open");
}

/* For a path that look_up() could not open: errno, or a refusal of such a link. Always -1. */
static int refuse_missing(const char *path, const char *operation, struct fs_error *error)
{
    int number = errno;
    cleanup_fd int fd = number == ELOOP ? open(path, O_PATH | O_CLOEXEC) : -1;
    return fd >= 0 ? refuse_own(path, operation, error) : fs_fail(error, number, operation, path);
}

/* Whether it is in the directory of /proc of one of our threads; -1 and errno if unknown. */
static int is_of_ourselves(int fd)
{
    static const char processes[] = "/proc/";
    const size_t begin = sizeof(processes) - 1;
    char link[DESCRIPTOR_PATH_SIZE], path[PATH_MAX], thread[40];
    ssize_t size = readlink(descriptor_path(fd, link), path, sizeof(path) - 1);
    if (size < 0) {
        return -1;
    }
    path[size] = '\0';
    if (strncmp(path, processes, begin) != 0) {
        return false;
    }
    path[begin + strcspn(path + begin, "/")] = '\0';
    (void)snprintf(thread, sizeof(thread), "/proc/self/task/%.20s", path + begin);
    if (access(thread, F_OK) == 0) {
        return true;
    }
    return errno == ENOENT ? false : -1;
}

/* 0 if it is not the server's own, or -1 with the error. */
static int check_found(int fd, const char *path, const char *operation, struct fs_error *error)
{
    int is_own = is_of_ourselves(fd);
    if (is_own < 0) {
        return fs_fail(error, errno, operation, path);
    }
    return is_own ? refuse_own(path, operation, error) : 0;
}

int served_file_check(const char *path, int flags, const char *operation, struct fs_error *error)
{
    struct stat status;
    cleanup_fd int fd = look_up(path, flags);
    if (fd < 0) {
        return errno == ENOENT ? 0 : refuse_missing(path, operation, error);
    }
    if (fstat(fd, &status) != 0) {
        return fs_fail(error, errno, operation, path);
    }
    return has_blocks(&status) ? 0 : check_found(fd, path, operation, error);
}

/* Whether its size is true: not in /sys, where it is that of a page. */
static bool tells_its_size(int fd, const struct stat *status)
{
    struct statfs system;
    return has_blocks(status) || fstatfs(fd, &system) != 0 ||
           (system.f_type != SYSFS_MAGIC && system.f_type != PROC_SUPER_MAGIC);
}

static int open_found(struct served_file *file, int found, const char *path, struct fs_error *error)
{
    char name[DESCRIPTOR_PATH_SIZE];
    if (fstat(found, &file->status) != 0) {
        return fs_fail(error, errno, "open", path);
    }
    if (check_found(found, path, "open", error) != 0) {
        return -1;
    }
    if (S_ISDIR(file->status.st_mode)) {
        return 0;
    }
    if (!S_ISREG(file->status.st_mode)) {
        return fs_refuse(error, ERROR_unsupported, "open", path,
                         "Not a regular file or a directory");
    }
    file->fd = open(descriptor_path(found, name), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file->fd < 0 || fstat(file->fd, &file->status) != 0) {
        (void)fs_fail(error, errno, "open", path);
        close_fd(&file->fd);
        return -1;
    }
    file->has_size = file->status.st_size > 0 && tells_its_size(file->fd, &file->status);
    return 0;
}

/*
 * Opens what is a file with a size, and not one of the kernel's: nearly all are, and cost three
 * calls less so. Whether it is. A file is looked at before it is opened, because opening a FIFO or
 * a device can have effects; a program that puts one there between these calls could open it
 * itself.
 */
static bool open_ordinary(struct served_file *file, const char *path)
{
    struct stat *status = &file->status;
    if (stat(path, status) != 0 || !S_ISREG(status->st_mode) || status->st_size == 0) {
        return false;
    }
    file->fd = fs_open_plain(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    file->has_size = file->fd >= 0 && fstat(file->fd, status) == 0 && S_ISREG(status->st_mode) &&
                     status->st_size > 0 && tells_its_size(file->fd, status);
    if (!file->has_size) {
        close_fd(&file->fd);
    }
    return file->has_size;
}

int served_file_open(struct served_file *file, const char *path, struct fs_error *error)
{
    *file = (struct served_file){.fd = -1};
    if (open_ordinary(file, path)) {
        return 0;
    }
    cleanup_fd int found = look_up(path, 0);
    if (found < 0) {
        return refuse_missing(path, "open", error);
    }
    return open_found(file, found, path, error);
}

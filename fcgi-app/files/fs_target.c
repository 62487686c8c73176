/*
 * Opens what is to be written, without changing it. A file is held by an O_PATH descriptor, because
 * execve(2) of a file that is open for writing fails with ETXTBSY.
 */
#include "fcgi-app/files/fs_target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"

/* Non-blocking: a FIFO without a reader is refused. */
#define FOR_WRITING (O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* Other flags say how a file is stored, and belong to the file system. */
#define USERS_FLAGS                                                                                \
    (FS_SECRM_FL | FS_UNRM_FL | FS_COMPR_FL | FS_SYNC_FL | FS_IMMUTABLE_FL | FS_APPEND_FL |        \
     FS_NODUMP_FL | FS_NOATIME_FL | FS_JOURNAL_DATA_FL | FS_NOTAIL_FL | FS_NOCOW_FL)

static int reopen(int fd, int flags)
{
    char path[DESCRIPTOR_PATH_SIZE];
    return open(descriptor_path(fd, path), flags | O_CLOEXEC);
}

static bool is_same(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

int fs_target_flags(int fd)
{
    int flags = 0;
    return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 ? flags & USERS_FLAGS : 0;
}

/* Finds the name of the file, without which nothing can be put in its place. */
static void find_place(struct fs_target *target)
{
    char link[DESCRIPTOR_PATH_SIZE], path[PATH_MAX];
    struct stat file, entry;
    ssize_t length = readlink(descriptor_path(target->file, link), path, sizeof(path));
    if (length <= 0 || length == (ssize_t)sizeof(path) || path[0] != '/') {
        return;
    }
    path[length] = '\0';
    if (fs_place_open(&target->place, path) != 0 || fstat(target->file, &file) != 0 ||
        fstatat(target->place.directory, target->place.name, &entry, AT_SYMLINK_NOFOLLOW) != 0 ||
        !is_same(&file, &entry)) {
        fs_place_clear(&target->place);
    }
}

/*
 * Takes a file that was opened for writing without O_CREAT, if `path` names it without a link at
 * its end and its directory is not sticky: nearly all are like that. Whether it does.
 */
static bool take_direct(struct fs_target *target, const char *path, int fd,
                        const struct stat *status)
{
    struct stat entry, directory;
    if (S_ISREG(status->st_mode) && fs_place_open(&target->place, path) == 0 &&
        fstat(target->place.directory, &directory) == 0 && (directory.st_mode & S_ISVTX) == 0) {
        target->file =
            openat(target->place.directory, target->place.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    }
    if (target->file >= 0 && fstat(target->file, &entry) == 0 && is_same(status, &entry)) {
        target->flags = fs_target_flags(fd);
        return true;
    }
    close_fd(&target->file);
    fs_place_clear(&target->place);
    return false;
}

/* Takes what was opened for writing. 0 or -1 with errno. */
static int target_take(struct fs_target *target, int opened)
{
    cleanup_fd int fd = opened;
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return -1;
    }
    if (!S_ISREG(status.st_mode)) {
        target->stream = steal_fd(&fd);
        return 0;
    }
    target->flags = fs_target_flags(fd);
    target->file = reopen(fd, O_PATH);
    if (target->file < 0) {
        return -1;
    }
    find_place(target);
    return 0;
}

/*
 * Opens what exists, as a shell's `>` does, but truncates nothing. Only with O_CREAT does the
 * kernel check the owner of a file or FIFO in a sticky directory (fs.protected_regular,
 * fs.protected_fifos). The first open(2), without it, makes sure that nothing is created. 0 or -1
 * with errno.
 */
static int open_existing(struct fs_target *target, const char *path)
{
    struct stat status;
    cleanup_fd int fd = open(path, FOR_WRITING);
    if (fd < 0 && errno != ETXTBSY) {
        return -1;
    }
    if (fd >= 0 && fstat(fd, &status) != 0) {
        return -1;
    }
    if (fd >= 0 && take_direct(target, path, fd, &status)) {
        return 0;
    }
    if (fd >= 0 && !S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode)) {
        target->stream = steal_fd(&fd); /* opening a device twice can have effects */
        return 0;
    }
    /* The first one stays open meanwhile: the reader of a FIFO sees no end. */
    int again = open(path, FOR_WRITING | O_CREAT, 0644);
    return again < 0 ? -1 : target_take(target, again);
}

/* Takes a file that is being executed. The kernel checks for that last: it may be written. */
static int take_executed(struct fs_target *target, const char *path)
{
    struct stat status;
    target->file = open(path, O_PATH | O_CLOEXEC);
    if (target->file < 0 || fstat(target->file, &status) != 0) {
        return -1;
    }
    cleanup_fd int fd = S_ISREG(status.st_mode) ? reopen(target->file, FOR_WRITING) : -1;
    if (fd < 0 && errno != ETXTBSY) {
        return -1;
    }
    cleanup_fd int readable = reopen(target->file, O_RDONLY | O_NONBLOCK);
    target->flags = fs_target_flags(readable);
    find_place(target);
    return 0;
}

/* Finds the place of what is not there. 0 or -1 with errno. */
static int find_new(struct fs_target *target, const char *path)
{
    struct stat status;
    if (path[0] != '\0' && path[strlen(path) - 1] == '/') {
        errno = EISDIR;
        return -1;
    }
    if (fs_place_open(&target->place, path) != 0) {
        errno = errno == EINVAL ? ENOENT : errno; /* x/.. where there is no x */
        return -1;
    }
    if (fstatat(target->place.directory, target->place.name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : -1;
    }
    /* A link to nothing. The kernel follows it, too, by making an empty file where it leads. */
    fs_place_clear(&target->place);
    int fd = open(path, FOR_WRITING | O_CREAT, 0644);
    target->made = fd >= 0 && fstat(fd, &status) == 0 && status.st_size == 0;
    return fd < 0 ? -1 : target_take(target, fd);
}

int fs_target_open(struct fs_target *target, const char *path)
{
    *target = (struct fs_target){.stream = -1, .file = -1, .place.directory = -1};
    if (open_existing(target, path) == 0) {
        return 0;
    }
    if (errno == ETXTBSY) {
        return take_executed(target, path);
    }
    return errno == ENOENT ? find_new(target, path) : -1;
}

/* Opens the file of a place if it is a regular one with content. Files of /proc and /sys have no
 * blocks. 0 or -1. */
static int open_direct_file(struct fs_target *target)
{
    struct stat entry, directory;
    const struct fs_place *place = &target->place;
    if (fstatat(place->directory, place->name, &entry, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : -1;
    }
    if (!S_ISREG(entry.st_mode) || entry.st_blocks == 0 ||
        fstat(place->directory, &directory) != 0 || (directory.st_mode & S_ISVTX) != 0) {
        return -1;
    }
    target->file = openat(place->directory, place->name, FOR_WRITING | O_NOFOLLOW);
    if (target->file < 0 || fstat(target->file, &target->status) != 0 ||
        !is_same(&entry, &target->status)) {
        return -1;
    }
    target->flags = fs_target_flags(target->file);
    return 0;
}

int fs_target_open_direct(struct fs_target *target, const char *path)
{
    *target = (struct fs_target){.stream = -1, .file = -1, .place.directory = -1, .direct = true};
    bool ends_with_slash = path[0] != '\0' && path[strlen(path) - 1] == '/';
    return ends_with_slash || fs_place_open_plain(&target->place, path) != 0
               ? -1
               : open_direct_file(target);
}

int fs_target_find(struct fs_target *target, const char *path)
{
    struct stat status;
    *target = (struct fs_target){.stream = -1, .file = -1, .place.directory = -1};
    target->file = open(path, O_PATH | O_CLOEXEC);
    if (target->file >= 0) {
        if (fstat(target->file, &status) == 0 && S_ISREG(status.st_mode)) {
            find_place(target);
        }
        return target->place.directory < 0 ? -1 : 0;
    }
    /* a link to nothing is there, but what it leads to is not */
    return fs_place_open(&target->place, path) == 0 &&
                   fstatat(target->place.directory, target->place.name, &status,
                           AT_SYMLINK_NOFOLLOW) != 0 &&
                   errno == ENOENT
               ? 0
               : -1;
}

int fs_target_open_file(const struct fs_target *target)
{
    return reopen(target->file, FOR_WRITING);
}

/* Removes what was made when it was opened, if it still is as it was then. */
static void unmake(const struct fs_target *target)
{
    struct stat file, entry;
    const struct fs_place *place = &target->place;
    if (place->directory >= 0 && fstat(target->file, &file) == 0 && file.st_size == 0 &&
        fstatat(place->directory, place->name, &entry, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_same(&file, &entry)) {
        (void)unlinkat(place->directory, place->name, 0);
    }
}

void fs_target_clear(struct fs_target *target, bool unwritten)
{
    if (unwritten && target->made && target->file >= 0) {
        unmake(target);
    }
    close_fd(&target->stream);
    close_fd(&target->file);
    fs_place_clear(&target->place);
}

#include "fcgi-app/files/fs_part.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/io.h"
#include "fcgi-app/files/fs_path.h"

void fs_part_clear(struct fs_part *part)
{
    free(part->path);
    part->path = NULL;
}

/* What is known of a file beside its path. 0 or -1 with errno. */
static int look_at(int file, struct fs_part *found)
{
    struct statx status;
    if (statx(file, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) {
        return -1;
    }
    if (!S_ISREG(status.stx_mode)) {
        errno = ESTALE;
        return -1;
    }
    found->device = makedev(status.stx_dev_major, status.stx_dev_minor);
    found->inode = status.stx_ino;
    found->born_ns = (status.stx_mask & STATX_BTIME) == 0
                         ? 0
                         : status.stx_btime.tv_sec * 1000000000 + status.stx_btime.tv_nsec;
    return 0;
}

int fs_part_describe(struct fs_part *part, int file, int directory, const char *name)
{
    char link[DESCRIPTOR_PATH_SIZE], path[PATH_MAX];
    *part = (struct fs_part){.path = NULL};
    ssize_t length = readlink(descriptor_path(directory, link), path, sizeof(path));
    if (length <= 0 || look_at(file, part) != 0) {
        return -1;
    }
    if (path[0] != '/' || (size_t)length + 1 + strlen(name) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    bool is_root = length == 1;
    return asprintf(&part->path, "%.*s/%s", is_root ? 0 : (int)length, path, name) < 0 ? -1 : 0;
}

/* 0, or -1 with errno: ESTALE for another file. */
static int part_compare(const struct fs_part *part, int file)
{
    struct fs_part found;
    if (look_at(file, &found) != 0) {
        return -1;
    }
    errno = ESTALE;
    return found.device == part->device && found.inode == part->inode &&
                   found.born_ns == part->born_ns
               ? 0
               : -1;
}

bool fs_part_is(const struct fs_part *part, int file)
{
    return part_compare(part, file) == 0;
}

bool fs_part_is_in(const struct fs_part *part, int directory)
{
    struct stat one, other;
    cleanup_(fs_place_clear) struct fs_place place;
    return fs_place_open(&place, part->path) == 0 && directory >= 0 &&
           fstat(place.directory, &one) == 0 && fstat(directory, &other) == 0 &&
           one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* Whether the name can be a part's. */
static bool is_hidden(const char *path)
{
    size_t length;
    return path[0] == '/' &&
           strncmp(fs_name(path, &length), FS_PART_PREFIX, strlen(FS_PART_PREFIX)) == 0;
}

int fs_part_open(const struct fs_part *part)
{
    cleanup_fd int fd = is_hidden(part->path) ? io_open_regular(AT_FDCWD, part->path, O_RDWR) : -1;
    return fd < 0 || part_compare(part, fd) != 0 ? -1 : steal_fd(&fd);
}

bool fs_part_took(const struct fs_part *part, const char *target)
{
    cleanup_fd int fd = open(target, O_PATH | O_CLOEXEC);
    return fd >= 0 && fs_part_is(part, fd);
}

void fs_part_remove(const struct fs_part *part)
{
    cleanup_(fs_place_clear) struct fs_place place = {.directory = -1};
    if (!is_hidden(part->path) || fs_place_open(&place, part->path) != 0) {
        return;
    }
    cleanup_fd int fd = openat(place.directory, place.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fs_part_is(part, fd)) {
        (void)unlinkat(place.directory, place.name, 0);
    }
}

#include "fcgi-app/files/fs_replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/directory.h"
#include "common/io.h"
#include "common/tree.h"
#include "fcgi-app/files/fs_part.h"

static bool is_same_file(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

bool fs_place_is_same(const struct fs_place *one, const struct fs_place *other)
{
    struct stat here, there;
    return strcmp(one->name, other->name) == 0 && fstat(one->directory, &here) == 0 &&
           fstat(other->directory, &there) == 0 && is_same_file(&here, &there);
}

static int rename_only(int directory, const char *from, const struct fs_place *to)
{
    int result = renameat2(directory, from, to->directory, to->name, RENAME_NOREPLACE);
    if (result == 0 || (errno != EINVAL && errno != ENOSYS)) {
        return result;
    }
    if (directory_has(to->directory, to->name)) { /* the file system does not know the flag */
        errno = EEXIST;
        return -1;
    }
    return renameat(directory, from, to->directory, to->name);
}

/* Removes what was replaced. What cannot be removed of it has no name that anybody knows, and the
 * new content is in its place: that is a success. */
static void remove_replaced(int directory, const char *name)
{
    (void)tree_remove(directory, name);
}

/* Where the kernel cannot exchange two names. 0 or -1 with errno. */
static int replace_in_two_steps(int directory, const char *from, const struct fs_place *to)
{
    char aside[IO_RANDOM_NAME_SIZE];
    if (io_random_name(aside, FS_PART_PREFIX) != 0 ||
        renameat(to->directory, to->name, to->directory, aside) != 0) {
        return -1;
    }
    if (renameat(directory, from, to->directory, to->name) != 0) {
        int number = errno;
        (void)renameat(to->directory, aside, to->directory, to->name);
        errno = number;
        return -1;
    }
    remove_replaced(to->directory, aside);
    return 0;
}

/* A directory takes the place of one that is not empty. */
static int replace_directory(int directory, const char *from, const struct fs_place *to,
                             enum fs_replace replace)
{
    if (renameat2(directory, from, to->directory, to->name, RENAME_EXCHANGE) == 0) {
        remove_replaced(directory, from);
        return 0;
    }
    if (errno == EINVAL || errno == ENOSYS) {
        if (replace_in_two_steps(directory, from, to) == 0) {
            return 0;
        }
    }
    if (errno != EXDEV || replace != FS_REPLACE_REMOVING) {
        return -1;
    }
    return tree_remove(to->directory, to->name) == 0 ? rename_only(directory, from, to) : -1;
}

int fs_replace(int directory, const char *from, const struct fs_place *to, enum fs_replace replace)
{
    struct stat old, new;
    if (replace == FS_REPLACE_NOTHING) {
        return rename_only(directory, from, to);
    }
    if (fstatat(directory, from, &new, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(new.st_mode) &&
        fstatat(to->directory, to->name, &old, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_same_file(&old, &new)) {
        return unlinkat(directory, from, 0); /* two names of one file: rename(2) would keep both */
    }
    if (renameat(directory, from, to->directory, to->name) == 0) {
        return 0;
    }
    return errno == ENOTEMPTY || errno == EEXIST ? replace_directory(directory, from, to, replace)
                                                 : -1;
}

/*
 * Theory of operation: the walk goes through the source, and a descent goes the same way through
 * the copy. A directory of the copy belongs to its maker alone until all is in it; then it gets the
 * mode and the time of its original.
 */
#include "fcgi-app/files/tree_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descent.h"
#include "common/tree.h"
#include "fcgi-app/files/fs_part.h"
#include "fcgi-app/files/raw_limits.h"
#include "fcgi-app/files/tree_walk.h"

struct tree_copying {
    const char *path; /* of the source */
    const struct copy_wish *wish;
    struct descent way; /* through the copy */
    struct fs_error *error;
    bool canceled;
};

/* Fills the error for an entry of the tree; `entry` NULL: for the tree itself. Always -1. */
static int fail_copying(struct tree_copying *copying, int number, const char *entry)
{
    cleanup_free char *path = NULL;
    copying->canceled = number == ECANCELED;
    if (entry != NULL && asprintf(&path, "%s/%s", copying->path, entry) < 0) {
        path = NULL;
    }
    if (number == ENOSPC && !raw_limits_has_room(0, 0)) {
        return fs_refuse(copying->error, ERROR_no_space, "copy",
                         path == NULL ? copying->path : path,
                         "The disk has no more than SANDBOX_MIN_FREE left");
    }
    return fs_fail(copying->error, number, "copy", path == NULL ? copying->path : path);
}

static bool has_gone(int number)
{
    return number == ENOENT || number == ENOTDIR || number == ELOOP || number == EAGAIN;
}

/* Makes a directory of the copy and goes down into it. 0 or -1 with errno. */
static int make_level(struct tree_copying *copying, int parent, const char *name)
{
    return mkdirat(parent, name, 0700) != 0
               ? -1
               : descent_enter(
                     &copying->way,
                     openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

/* Gives the deepest directory of the copy what its original has. 0 or -1 with errno. */
static int finish_level(struct tree_copying *copying, int parent, const char *name)
{
    struct stat status;
    cleanup_fd int original =
        parent < 0
            ? -1
            : openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (original < 0) {
        errno = parent < 0 ? ESTALE : errno;
        return -1;
    }
    return fstat(original, &status) != 0
               ? -1
               : file_copy_attributes(original, copying->way.fd, &status, copying->wish);
}

/* ---- the events of the walk; 0, or -1 with the error ---- */

static int take_copied_entry(struct tree_copying *copying, const struct tree_entry *entry)
{
    int result = entry->type == DT_DIR ? make_level(copying, copying->way.fd, entry->name)
                                       : file_copy(entry->directory, entry->name, copying->way.fd,
                                                   entry->name, copying->wish);
    return result == 0 || (entry->type != DT_DIR && has_gone(errno))
               ? 0
               : fail_copying(copying, errno, entry->path);
}

static int take_left_directory(struct tree_copying *copying, const struct tree_entry *entry)
{
    bool finished = finish_level(copying, entry->directory, entry->name) == 0 || has_gone(errno);
    return finished && descent_leave(&copying->way, O_RDONLY) == 0
               ? 0
               : fail_copying(copying, errno, entry->path);
}

/* A directory that has disappeared since it was handed out does not stay in the copy. */
static int take_refused_directory(struct tree_copying *copying, const struct tree_entry *entry,
                                  int number)
{
    if (!has_gone(number)) {
        return fail_copying(copying, number, entry->path);
    }
    return descent_leave(&copying->way, O_RDONLY) == 0 &&
                   unlinkat(copying->way.fd, entry->name, AT_REMOVEDIR) == 0
               ? 0
               : fail_copying(copying, errno, entry->path);
}

static int copy_entries(struct tree_copying *copying, struct tree_walk *walk)
{
    for (;;) {
        struct tree_entry entry;
        int result = 0;
        switch (tree_walk_next(walk, &entry)) {
        case TREE_ENTRY: result = take_copied_entry(copying, &entry); break;
        case TREE_LEFT: result = take_left_directory(copying, &entry); break;
        case TREE_REFUSED: result = take_refused_directory(copying, &entry, errno); break;
        case TREE_END: return 0;
        case TREE_FAILED: return fail_copying(copying, errno, NULL);
        }
        if (result != 0) {
            return -1;
        }
    }
}

/* ---- the whole ---- */

static int copy_directory(struct tree_copying *copying, const struct fs_place *from, int to,
                          const char *name)
{
    const struct tree_walk_plan plan = {.check = copying->wish->check};
    cleanup_fd int root = openat(from->directory, from->name,
                                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (root < 0 || make_level(copying, to, name) != 0) {
        return fail_copying(copying, errno, NULL);
    }
    cleanup_(tree_walk_freep) struct tree_walk *walk = tree_walk_begin(steal_fd(&root), &plan);
    if (walk == NULL) {
        return fail_copying(copying, errno, NULL);
    }
    if (copy_entries(copying, walk) != 0) {
        return -1;
    }
    return finish_level(copying, from->directory, from->name) == 0
               ? 0
               : fail_copying(copying, errno, NULL);
}

int tree_copy(const struct fs_place *from, const char *path, const struct fs_place *to,
              const struct copy_wish *wish, char name[IO_RANDOM_NAME_SIZE], bool *canceled,
              struct fs_error *error)
{
    struct stat status;
    struct tree_copying copying = {.path = path, .wish = wish, .way = {.fd = -1}, .error = error};
    int result = -1;
    if (fstatat(from->directory, from->name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        io_random_name(name, FS_PART_PREFIX) != 0) {
        result = fail_copying(&copying, errno, NULL);
        name[0] = '\0';
    } else if (S_ISDIR(status.st_mode)) {
        result = copy_directory(&copying, from, to->directory, name);
    } else if ((result = file_copy(from->directory, from->name, to->directory, name, wish)) != 0) {
        result = fail_copying(&copying, errno, NULL);
    }
    descent_clear(&copying.way);
    *canceled = copying.canceled;
    if (result != 0 && name[0] != '\0') {
        (void)tree_remove(to->directory, name);
    }
    return result;
}

int tree_holds(const struct stat *tree, int directory)
{
    cleanup_fd int at = openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat last = {.st_ino = 0};
    while (at >= 0) {
        struct stat status;
        if (fstat(at, &status) != 0) {
            return -1;
        }
        if (status.st_dev == tree->st_dev && status.st_ino == tree->st_ino) {
            return 1;
        }
        if (status.st_dev == last.st_dev && status.st_ino == last.st_ino) {
            return 0; /* the root is above itself */
        }
        last = status;
        int above = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close_fd(&at);
        at = above;
    }
    return -1;
}

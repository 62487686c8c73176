/*
 * Removing a tree. It goes down by names that are opened without following links and up through
 * "..", which must be the directory it came from, so that two descriptors do for any depth and
 * nothing that happens meanwhile leads out of the tree. (rm and Go's RemoveAll keep a descriptor
 * for each level.)
 */
#include "common/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/name_list.h"

#define ENTRIES_SIZE (32 << 10) /* of one getdents64(2) */
#define ATTEMPTS_MAX 100        /* at one directory that somebody else keeps filling */

/* A directory on the way to where we are; the first one is that which holds the tree. Somebody may
 * have made a million of them. */
struct level {
    dev_t device;
    ino_t inode;
    size_t first; /* of walk.directories: those from here on are in it, up to the next level's */
    unsigned attempts; /* at the last one */
};

struct walk {
    int fd; /* the deepest level; O_PATH but while it is scanned */
    struct level *levels;
    size_t depth, capacity;
    struct name_list directories; /* of all levels and still to be removed, the last one first */
    char *entries;                /* ENTRIES_SIZE bytes */
};

static void walk_clear(struct walk *walk)
{
    name_list_clear(&walk->directories);
    free(walk->levels);
    free(walk->entries);
    close_fd(&walk->fd);
}

/* Removes what is no directory; *directory tells that it is one. What is gone is removed. */
static int remove_entry(int fd, const char *name, bool *directory)
{
    struct stat status;
    *directory = false;
    if (unlinkat(fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    int number = errno; /* EISDIR for a directory, on some file systems EPERM */
    if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode)) {
        *directory = true;
        return 0;
    }
    errno = number;
    return -1;
}

/* Removes the deepest level's entries but its directories, which it remembers. */
static int scan(struct walk *walk)
{
    for (;;) {
        ssize_t filled = getdents64(walk->fd, walk->entries, ENTRIES_SIZE);
        if (filled <= 0) {
            return (int)filled;
        }
        for (ssize_t at = 0; at < filled;) {
            const struct dirent64 *entry = (const void *)(walk->entries + at);
            at += entry->d_reclen;
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
                continue;
            }
            bool directory = entry->d_type == DT_DIR;
            if (!directory && remove_entry(walk->fd, entry->d_name, &directory) != 0) {
                return -1;
            }
            if (directory && name_list_add(&walk->directories, entry->d_name) != 0) {
                return -1;
            }
        }
    }
}

/* Makes `fd` (taken over; -1 with errno: it could not be opened) the deepest level. */
static int enter(struct walk *walk, int fd)
{
    struct stat status;
    close_fd(&walk->fd);
    walk->fd = fd;
    if (fd < 0 || fstat(fd, &status) != 0) {
        return -1;
    }
    if (walk->depth == walk->capacity) {
        size_t capacity = walk->capacity == 0 ? 16 : walk->capacity * 2;
        struct level *levels = reallocarray(walk->levels, capacity, sizeof(*levels));
        if (levels == NULL) {
            return -1;
        }
        walk->levels = levels;
        walk->capacity = capacity;
    }
    walk->levels[walk->depth++] = (struct level){
        .device = status.st_dev, .inode = status.st_ino, .first = walk->directories.count};
    return 0;
}

/* Goes back up from a level without directories. */
static int leave(struct walk *walk)
{
    struct stat status;
    const struct level *level = &walk->levels[--walk->depth - 1];
    cleanup_fd int parent = openat(walk->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fstat(parent, &status) != 0) {
        return -1;
    }
    if (status.st_dev != level->device || status.st_ino != level->inode) {
        errno = ESTALE; /* somebody moved the directory that we are in */
        return -1;
    }
    close_fd(&walk->fd);
    walk->fd = steal_fd(&parent);
    return 0;
}

/* rmdir(2), to which a directory that is gone or no longer one is removed. 1 when it is not empty.
 */
static int remove_directory(int fd, const char *name)
{
    if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno == ENOTDIR) {
        bool directory;
        return remove_entry(fd, name, &directory) != 0 ? -1 : directory;
    }
    return errno == ENOTEMPTY || errno == EEXIST ? 1 : -1;
}

/* Removes the last directory of the deepest level, or goes down into it. */
static int remove_last(struct walk *walk)
{
    struct level *level = &walk->levels[walk->depth - 1];
    const char *name = name_list_at(&walk->directories, walk->directories.count - 1);
    int removed = remove_directory(walk->fd, name);
    if (removed < 0) {
        return -1;
    }
    if (removed == 0) {
        name_list_drop_last(&walk->directories);
        level->attempts = 0;
        return 0;
    }
    if (level->attempts++ == ATTEMPTS_MAX) {
        errno = ENOTEMPTY;
        return -1;
    }
    int fd = openat(walk->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) { /* replaced meanwhile: the next attempt sees it */
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    }
    return enter(walk, fd) != 0 ? -1 : scan(walk);
}

/* Removes a directory. 0 or -1 with errno. */
static int remove_tree(int directory, const char *name)
{
    cleanup_(walk_clear) struct walk walk = {.fd = -1, .entries = malloc(ENTRIES_SIZE)};
    if (walk.entries == NULL) {
        return -1;
    }
    if (enter(&walk, openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC)) != 0 ||
        name_list_add(&walk.directories, name) != 0) {
        return -1;
    }
    while (walk.directories.count > 0) {
        bool empty = walk.directories.count == walk.levels[walk.depth - 1].first;
        if ((empty ? leave(&walk) : remove_last(&walk)) != 0) {
            return -1;
        }
    }
    return 0;
}

int tree_remove(int directory, const char *name)
{
    bool is_directory;
    if (remove_entry(directory, name, &is_directory) != 0) {
        return -1;
    }
    return is_directory ? remove_tree(directory, name) : 0;
}

/*
 * Removing a tree. It goes down by names that are opened without following links, and comes back up
 * as a descent does.
 */
#include "common/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/array.h"
#include "common/cleanup.h"
#include "common/descent.h"
#include "common/descriptor.h"
#include "common/name_list.h"

#define ENTRIES_SIZE (32 << 10) /* of one getdents64(2) */
#define ATTEMPTS_MAX 100        /* at one directory that another process keeps filling */

/* A directory on the way to the deepest level; the first one holds the tree. */
struct level {
    size_t first; /* of walk.directories: it has those from here on, up to the next level's first */
    unsigned attempts; /* at the last one */
};

struct walk {
    struct descent way;   /* O_PATH but while a level is scanned */
    struct level *levels; /* as many as the way has */
    size_t capacity;
    struct name_list directories; /* of all levels and still to be removed, the last one first */
    char *entries;                /* ENTRIES_SIZE bytes */
    /* The entry of the deepest level that stopped a scan, in `entries`; "" for the level itself. */
    const char *refused;
};

static void walk_clear(struct walk *walk)
{
    name_list_clear(&walk->directories);
    free(walk->levels);
    free(walk->entries);
    descent_clear(&walk->way);
}

/* Removes an entry that is no directory; one that is gone counts as removed. *directory: it is one,
 * and still there. */
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

/*
 * Gives the owner of a directory, if that is this process's user, the rights that it takes to
 * remove what is in it. By descriptor, O_PATH too: no name can lead elsewhere. Whether the rights
 * are new, so that another attempt is worthwhile.
 */
static bool unlock(int fd)
{
    struct stat status;
    char path[DESCRIPTOR_PATH_SIZE];
    if (fstat(fd, &status) != 0 || (status.st_mode & S_IRWXU) == S_IRWXU) {
        return false;
    }
    return chmod(descriptor_path(fd, path), (status.st_mode & 07777) | S_IRWXU) == 0;
}

/* Whether errno says that the deepest level was locked, and it no longer is. The first level holds
 * the tree and does not belong to it. */
static bool unlocked(const struct walk *walk)
{
    int number = errno;
    if (number == EACCES && walk->way.depth > 1 && unlock(walk->way.fd)) {
        return true;
    }
    errno = number;
    return false;
}

/* Removes the deepest level's entries but its directories, which it remembers. */
static int scan(struct walk *walk)
{
    for (;;) {
        ssize_t filled = getdents64(walk->way.fd, walk->entries, ENTRIES_SIZE);
        if (filled <= 0) {
            walk->refused = filled < 0 ? "" : NULL;
            return (int)filled;
        }
        for (ssize_t at = 0; at < filled;) {
            const struct dirent64 *entry = (const void *)(walk->entries + at);
            at += entry->d_reclen;
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
                continue;
            }
            bool directory = entry->d_type == DT_DIR;
            if (!directory && remove_entry(walk->way.fd, entry->d_name, &directory) != 0 &&
                !(unlocked(walk) && remove_entry(walk->way.fd, entry->d_name, &directory) == 0)) {
                walk->refused = entry->d_name;
                return -1;
            }
            if (directory && name_list_add(&walk->directories, entry->d_name) != 0) {
                return -1;
            }
        }
    }
}

/* Makes `fd` (taken over; -1 with errno: it could not be opened) the deepest level. */
static int walk_enter(struct walk *walk, int fd)
{
    const size_t depth = walk->way.depth;
    if (descent_enter(&walk->way, fd) != 0) {
        return -1;
    }
    if (ARRAY_RESERVE_ONE(walk->levels, walk->capacity, depth) < 0) {
        walk->way.depth = depth;
        return -1;
    }
    walk->levels[depth] = (struct level){.first = walk->directories.count};
    return 0;
}

/* rmdir(2). A directory that is gone, or was replaced by a file, which is removed, counts as
 * removed. 1 when it is not empty. */
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

/* Opens a directory of the deepest level for scanning. The descriptor, or -1 with errno. */
static int open_entry(const struct walk *walk, const char *name)
{
    static const int flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(walk->way.fd, name, O_RDONLY | O_NONBLOCK | flags);
    if (fd >= 0 || errno != EACCES) {
        return fd;
    }
    cleanup_fd int locked = openat(walk->way.fd, name, O_PATH | flags);
    if (locked < 0 || !unlock(locked)) {
        errno = EACCES;
        return -1;
    }
    return openat(locked, ".", O_RDONLY | O_NONBLOCK | flags);
}

/* Removes the last directory of the deepest level, or goes down into it. */
static int remove_last(struct walk *walk)
{
    struct level *level = &walk->levels[walk->way.depth - 1];
    const char *name = name_list_at(&walk->directories, walk->directories.count - 1);
    int removed = remove_directory(walk->way.fd, name);
    if (removed < 0 && unlocked(walk)) {
        removed = remove_directory(walk->way.fd, name);
    }
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
    int fd = open_entry(walk, name);
    if (fd < 0) { /* it was replaced: the next attempt sees that */
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    }
    return walk_enter(walk, fd) != 0 ? -1 : scan(walk);
}

/* ---- where it stopped ---- */

/* The directory that the walk has entered, or is about to enter, at a level; NULL at its end. */
static const char *name_at(const struct walk *walk, size_t level)
{
    size_t end =
        level + 1 < walk->way.depth ? walk->levels[level + 1].first : walk->directories.count;
    return end > walk->levels[level].first ? name_list_at(&walk->directories, end - 1) : NULL;
}

/* The path to what the walk stopped at, to be freed. NULL when memory is out; errno stays. */
static char *refused_path(const struct walk *walk)
{
    char *path = NULL;
    size_t size;
    int number = errno;
    FILE *stream = open_memstream(&path, &size);
    if (stream == NULL) {
        errno = number;
        return NULL;
    }
    for (size_t level = 0; level < walk->way.depth; level++) {
        bool last = level + 1 == walk->way.depth;
        const char *name = last && walk->refused != NULL ? walk->refused : name_at(walk, level);
        if (name != NULL && name[0] != '\0') {
            (void)fprintf(stream, "%s%s", level == 0 ? "" : "/", name);
        }
    }
    bool whole = ferror(stream) == 0;
    if (fclose(stream) != 0 || !whole) {
        free(path);
        path = NULL;
    }
    errno = number;
    return path;
}

static int walk_all(struct walk *walk, int directory, const char *name)
{
    if (walk->entries == NULL ||
        walk_enter(walk, openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC)) != 0 ||
        name_list_add(&walk->directories, name) != 0) {
        return -1;
    }
    while (walk->directories.count > 0) {
        bool empty = walk->directories.count == walk->levels[walk->way.depth - 1].first;
        if ((empty ? descent_leave(&walk->way, O_PATH) : remove_last(walk)) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Removes a directory. 0 or -1 with errno. */
static int remove_tree(int directory, const char *name, char **refused)
{
    cleanup_(walk_clear) struct walk walk = {.way = {.fd = -1}, .entries = malloc(ENTRIES_SIZE)};
    int result = walk_all(&walk, directory, name);
    if (result != 0 && refused != NULL) {
        *refused = refused_path(&walk);
    }
    return result;
}

int tree_remove_naming(int directory, const char *name, char **refused)
{
    bool is_directory;
    if (refused != NULL) {
        *refused = NULL;
    }
    if (remove_entry(directory, name, &is_directory) != 0) {
        return -1;
    }
    return is_directory ? remove_tree(directory, name, refused) : 0;
}

int tree_remove(int directory, const char *name)
{
    return tree_remove_naming(directory, name, NULL);
}

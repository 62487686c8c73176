/*
 * What a path names before it is written, as open(2) for writing finds it. Part of fs.
 *
 * The kernel alone follows the links and decides. What it refuses to a shell's `>` (because of a
 * mode, a security module, or another user's link, file or FIFO in a sticky directory) is refused
 * here too, before anything is changed.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "fcgi-app/files/fs_path.h"

/* One of three: something to write into (`stream`), a regular file (`file`), or nothing yet. */
struct fs_target {
    int stream;         /* a device or a FIFO, open for writing and non-blocking; -1 otherwise */
    int file;           /* O_PATH, so that it can still be executed, or direct; -1 otherwise */
    int flags;          /* of the file's inode, those that ioctl_iflags(2) lets users change */
    bool made;          /* the file was made by opening it, at the end of a link to nothing */
    bool direct;        /* by fs_target_open_direct(): */
    struct stat status; /* of a direct file, when it was opened */
    /* Where the file is, or is to be made. Its directory is -1 for a file without a place: one that
     * was removed, or whose path is too long. */
    struct fs_place place;
};

/*
 * Looks at `path`. 0, or -1 with errno (EISDIR, ENXIO for a FIFO without a reader, EACCES, ...).
 * Clear it in any case. Thread-safe.
 */
int fs_target_open(struct fs_target *target, const char *path);

/*
 * The same for what nearly all paths name: a regular file with content or nothing, reached through
 * no link at its end and none of /proc, and a file only in a directory that is not sticky. A file
 * is held open for writing instead, so this is for content that is there already. 0, or -1: it is
 * something else, and nothing has been done. Clear it in any case. Thread-safe.
 */
int fs_target_open_direct(struct fs_target *target, const char *path);

/*
 * Finds where the file is, or is to be made, and opens nothing for writing. 0, or -1 with errno if
 * it cannot be a regular file in a directory. Clear it in any case. Thread-safe.
 */
int fs_target_find(struct fs_target *target, const char *path);

/* Opens the file for writing, at its beginning. The descriptor, or -1 with errno (ETXTBSY: it is
 * being executed). */
int fs_target_open_file(const struct fs_target *target);

/* The flags of an open file that users may change; 0 where there are none. */
int fs_target_flags(int fd);

/* Closes all. `unwritten` also removes a file that opening it has made, if it is still empty. */
void fs_target_clear(struct fs_target *target, bool unwritten);

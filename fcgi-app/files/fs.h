/*
 * Every file-system call that a client asks for, done as the user that identity.h has made this
 * process for files: never by access(2), which asks about another one. All functions are
 * thread-safe. On failure they return -1 (or NULL) and fill *error with the operation, the path and
 * the system's reason: "open /tmp/x: No such file or directory".
 */
#ifndef FCGI_APP_FILES_FS_H
#define FCGI_APP_FILES_FS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/errors.h"
#include "common/name_list.h"

struct stat;

struct fs_error {
    enum api_error code;
    /* Room for PATH_MAX and the rest; a longer path is cut (perhaps not valid UTF-8). */
    char message[4608];
};

/* Fills *error for a failed `operation` on `path`: errno `number` in words. Always -1. */
int fs_fail(struct fs_error *error, int number, const char *operation, const char *path);

/*
 * Writing a file so that its old content stays until all of the new is there. Whether it may be
 * written is for open(2) to say, as for a shell's `>`: the kernel follows the links. What is there
 * keeps its owner, group, mode, access control list and extended attributes; a new file gets 0644.
 *
 * The content goes to a temporary file beside the target, then rename. Where a new file cannot be
 * all that the old one is (another's file, one with several names, a set-user-ID file, a bind
 * mount, a directory where nothing may be made) the content is copied over the old once it is all
 * there and the disk has room for it; the kernel then clears what it clears after any write. Only a
 * device or a FIFO is written at once. Never blocks on a FIFO.
 */
struct fs_writer;
struct fs_writer *fs_write_begin(const char *path, struct fs_error *error);
int fs_write_data(struct fs_writer *writer, const char *data, size_t length,
                  struct fs_error *error);
int fs_write_commit(struct fs_writer *writer, struct fs_error *error); /* frees it either way */
void fs_write_cancel(struct fs_writer *writer);                        /* frees it; NULL is fine */

/*
 * Opens a regular file for reading, and nothing else, whatever takes its name meanwhile. The
 * descriptor (owned by the caller, CLOEXEC, non-blocking), or
 * -1. Directories, devices, sockets and FIFOs are refused with a reason; *size is what fstat says.
 */
int fs_open(const char *path, uint64_t *size, struct fs_error *error);

/*
 * stat(2): follows links, so that a link is what it leads to, and one that leads nowhere is not
 * there.
 */
int fs_stat(const char *path, struct stat *status, struct fs_error *error);

/* The last component of a path, without the slashes behind it; "/" of the root. Borrowed from
 * `path`. */
const char *fs_name(const char *path, size_t *length);

/* unlink(2); a directory is refused with "Is a directory". */
int fs_delete_file(const char *path, struct fs_error *error);

/*
 * Removes a tree of any depth without following links; a path that is no directory is removed too,
 * and what is not there is no failure. A directory in it that its owner may not change is no
 * obstacle to its owner. Stops at the first entry that cannot be removed, which *error names.
 */
int fs_delete_tree(const char *path, struct fs_error *error);

/*
 * Makes a directory with its parents; one that is there already is no failure. Each is reached from
 * the one before, by descriptor. The mode is 0755 as long as the umask of the process leaves it
 * alone: no mode is changed afterwards, when the name may be another directory's.
 */
int fs_make_directory(const char *path, struct fs_error *error);

/* Adds the names in a directory, without . and .., to *names (zeroed; the caller clears it), sorted
 * bytewise. */
int fs_list(const char *path, struct name_list *names, struct fs_error *error);

#endif

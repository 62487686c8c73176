/*
 * Every file-system call that a client asks for, done as the user that identity.h gives this
 * process for files; so never by access(2), which asks about another user. All functions are
 * thread-safe. On failure they return -1 (or NULL) and fill *error with the operation, the path and
 * the system's reason: "open /tmp/x: No such file or directory".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "api/errors.h"
#include "common/name_list.h"

struct fs_error {
    enum api_error code;
    /* Room for PATH_MAX and the rest; a longer path is cut (perhaps not valid UTF-8). */
    char message[4608];
};

/* Fills *error for a failed `operation` on `path`: errno `number` in words. Always -1. */
int fs_fail(struct fs_error *error, int number, const char *operation, const char *path);

/* The same for another reason than an errno. */
int fs_refuse(struct fs_error *error, enum api_error code, const char *operation, const char *path,
              const char *reason);

/*
 * Writes a file so that its old content stays until the new one is complete. open(2) decides
 * whether it may be written, as for a shell's `>`, and the kernel follows the links. A file that
 * exists keeps its owner, group, mode, access control list and extended attributes; a new one gets
 * 0644.
 *
 * The content goes to a temporary file beside the target, which then takes the target's name. Some
 * files cannot be replaced like that: another user's, one with several names, a set-user-ID file, a
 * bind mount, one in a directory where nothing may be made. Then the content is copied over the old
 * one, once it is complete and the disk has room for it; the kernel clears what it clears after any
 * write. Only a device or a FIFO gets its content piece by piece. Never blocks on a FIFO.
 */
struct fs_writer;
struct fs_writer *fs_write_begin(const char *path, struct fs_error *error);

/*
 * The same in fewer calls, for content that is in memory already: a file that exists is held open
 * for writing until the end, keeps the mode that it has now, and cannot be executed meanwhile. The
 * path of such a writer leads through no link of /proc to what a process has open, and not to a
 * file of /proc. NULL: it is not like nearly all others, or something has failed, which
 * fs_write_begin() will find again.
 */
struct fs_writer *fs_write_begin_direct(const char *path);

int fs_write_data(struct fs_writer *writer, const char *data, size_t length,
                  struct fs_error *error);
int fs_write_commit(struct fs_writer *writer, struct fs_error *error); /* frees it either way */

/* What a write is to do beside its content; zeroed: nothing. */
struct fs_wish {
    bool exclusive; /* fail with ERROR_exists if there is a file by then */
    bool has_mode;
    bool has_time;
    mode_t mode;
    struct timespec modified;
};

/* What has become of a write. */
struct fs_written {
    bool created;       /* there was no such file */
    bool is_known;      /* it is a regular file, whose status this is: */
    struct stat status; /* right after the write */
    bool is_damaged;    /* of a failure: the file has some of the new content */
};

/* fs_write_commit() with more to it. */
int fs_write_publish(struct fs_writer *writer, const struct fs_wish *wish,
                     struct fs_written *written, struct fs_error *error);

/* How many bytes the disk where the content goes has room for; UINT64_MAX if it is no disk's. */
uint64_t fs_write_room(struct fs_writer *writer);
void fs_write_cancel(struct fs_writer *writer); /* frees it; NULL is fine */

/*
 * A file without a name for content that arrives before its path is opened for writing: on the disk
 * where fs_write_begin() will want it, as far as can be seen without changing anything. The
 * descriptor (owned by the caller, CLOEXEC), or -1: there is none, and whatever the reason is,
 * fs_write_begin() finds it, too.
 */
int fs_write_early(const char *path);

/* Takes such a file (borrowed), with all its content, in the place of fs_write_data(). False if it
 * cannot be that of the target: then write the content. */
bool fs_write_adopt(struct fs_writer *writer, int early);

/*
 * Opens a regular file for reading, and nothing else, whatever takes its name meanwhile. The
 * descriptor (owned by the caller, CLOEXEC, non-blocking), or -1. Directories, devices, sockets and
 * FIFOs are refused with a reason. *status is what fstat(2) reports of it.
 */
int fs_open(const char *path, struct stat *status, struct fs_error *error);

/* stat(2), or lstat(2) if `no_follow`. stat(2) follows links: one that leads nowhere does not
 * exist.
 */
int fs_stat(const char *path, bool no_follow, struct stat *status, struct fs_error *error);

/* unlink(2); a directory is refused with "Is a directory". */
int fs_delete_file(const char *path, struct fs_error *error);

/*
 * Removes a tree of any depth without following links. It also removes what is not a directory, and
 * succeeds where nothing exists. A directory whose mode keeps its owner from changing it gets
 * another mode first. Stops at the first entry that cannot be removed, which *error names.
 */
int fs_delete_tree(const char *path, struct fs_error *error);

/*
 * Makes a directory with its parents; succeeds if it exists. Each is reached from the one before,
 * by descriptor. The mode is 0755 less the umask of the process. It is not changed afterwards,
 * because the name may be another directory's by then.
 */
int fs_make_directory(const char *path, struct fs_error *error);

/* The same for the directory that `path` is in. */
int fs_make_parents(const char *path, struct fs_error *error);

/* Adds the names in a directory, without . and .., to *names (zeroed; the caller clears it), sorted
 * bytewise. *directory, unless NULL, becomes a descriptor of it (owned by the caller). */
int fs_list(const char *path, struct name_list *names, int *directory, struct fs_error *error);

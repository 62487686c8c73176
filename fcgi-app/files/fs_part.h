/*
 * The unfinished content of a file that outlives this process: it lies beside its target under a
 * hidden name. Part of fs.
 *
 * Whoever may change the directory can put another file in its place. So a part is known by more
 * than its path, and is only opened if it is the file that was made: otherwise another user could
 * have us write to, or remove, any file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-app/files/fs.h"

#define FS_PART_PREFIX ".sandbox-" /* of hidden names */

struct fs_part {
    char *path;             /* absolute; owned */
    uint64_t device, inode; /* of the file */
    int64_t born_ns;        /* when it was made, since the epoch; 0 where that is unknown */
};

/* Frees the path. */
void fs_part_clear(struct fs_part *part);

/* Describes the open file that has, or is to have, a name in a directory (descriptors borrowed). 0,
 * or -1 with errno. Clear it in any case. */
int fs_part_describe(struct fs_part *part, int file, int directory, const char *name);

/* Whether the open file is the part. Thread-safe, as the others. */
bool fs_part_is(const struct fs_part *part, int file);

/* Whether the part lies in the directory (borrowed; -1: it does not). */
bool fs_part_is_in(const struct fs_part *part, int directory);

/* Opens it for reading and writing. The descriptor (owned by the caller, CLOEXEC), or -1 with
 * errno: ESTALE for another file in its place. */
int fs_part_open(const struct fs_part *part);

/* Whether the target is the part, which took its name. */
bool fs_part_took(const struct fs_part *part, const char *target);

/* Removes it, unless another file is in its place. */
void fs_part_remove(const struct fs_part *part);

/* ---- writing by parts; as in fs.h ---- */

/*
 * Begins a write whose content is to be a part, which *part describes; clear it in any case. The
 * target must be a regular file, or nothing yet, in a directory where something can be made. Until
 * fs_write_keep_part() nothing of it has a name, as far as the file system allows.
 */
struct fs_writer *fs_write_begin_part(const char *path, struct fs_part *part,
                                      struct fs_error *error);

/* Gives the part its name. From then on fs_write_cancel() leaves it. */
int fs_write_keep_part(struct fs_writer *writer, const struct fs_part *part,
                       struct fs_error *error);

/*
 * Begins the end of a write: `file` (borrowed) is the part, with all its content. The target is
 * looked at anew; where its name leads elsewhere by now, the content is copied there. Then
 * fs_write_publish(), which leaves a part whose name has not become the target's.
 */
struct fs_writer *fs_write_resume(const char *path, const struct fs_part *part, int file,
                                  struct fs_error *error);

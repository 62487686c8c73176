/*
 * Gives a file or directory another name. Part of fs. Thread-safe.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/files/fs_path.h"

/* What may become of something that has the name already. */
enum fs_replace {
    FS_REPLACE_NOTHING, /* EEXIST */
    FS_REPLACE_WHOLE,   /* it is replaced in one step, or stays */
    /* The same; a directory that cannot be replaced in one step (one of an image's layer) is
     * removed first. */
    FS_REPLACE_REMOVING,
};

/*
 * Renames what has the name `from` in a directory. A file replaces a file and a directory a
 * directory, with all that is in it; otherwise EISDIR or ENOTDIR. 0, or -1 with errno: then `from`
 * has its old name. EXDEV: it is on another file system, or a directory of an image's layer.
 */
int fs_replace(int directory, const char *from, const struct fs_place *to, enum fs_replace replace);

/* Whether both are the same name in the same directory. */
bool fs_place_is_same(const struct fs_place *one, const struct fs_place *other);

/*
 * The copy of a file or a whole tree beside the place where it is wanted. Thread-safe.
 */
#pragma once

#include "common/io.h"
#include "fcgi-app/files/file_copy.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_path.h"

/*
 * Copies what is at `from` into the directory of `to` under a random hidden name, which `name`
 * becomes. `path` is that of `from`, for messages. A copy crosses mounts, and follows no link.
 * Entries that disappear meanwhile are left out. 0, or -1 with *error: then nothing is left of the
 * copy, and *canceled says whether the check asked to stop.
 */
int tree_copy(const struct fs_place *from, const char *path, const struct fs_place *to,
              const struct copy_wish *wish, char name[IO_RANDOM_NAME_SIZE], bool *canceled,
              struct fs_error *error);

/* Whether a directory (O_PATH) is `tree`, or below it. Also -1 with errno when that cannot be seen.
 */
int tree_holds(const struct stat *tree, int directory);

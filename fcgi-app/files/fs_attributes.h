/*
 * What a file is beside its content: owner, group, mode, access control list, extended attributes.
 * Part of fs.
 */
#pragma once

#include <sys/stat.h>

/*
 * Gives the new file `to` (open for writing) the attributes of `from` (O_PATH or open for writing),
 * which has the status `old`, and no others. 0, or -1 with errno where that is impossible: another
 * user's file, one with several names, and files whose attributes the kernel changes with the
 * content (set-user-ID, a digest of the content). `to` may have some of them then. Thread-safe.
 */
int fs_attributes_copy(int from, const struct stat *old, int to);

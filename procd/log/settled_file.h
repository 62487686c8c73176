/*
 * Small files that one process writes over in place (message_overwrite_file) and others read
 * meanwhile.
 *
 * Thread-safe.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define SETTLED_FILE_MAX ((size_t)256) /* such a file is shorter */

/*
 * Reads the whole file `name` of a directory: what was written by one write. The length, or -1 with
 * errno: ENOENT when there is no such file, EBADMSG for one that never stands still or is none.
 */
ssize_t settled_file_read(int directory, const char *name, char data[SETTLED_FILE_MAX]);

/*
 * Bytes on their way into a file. Part of fs. 0, or -1 with errno. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* write(2) of all. A FIFO or a terminal may take its time, but not for ever. */
int fs_bytes_write(int fd, const char *data, size_t length);

/* Copies the content from `begin` to `end` to the same place in another file. */
int fs_bytes_copy(int from, int to, off_t begin, off_t end);

/*
 * Copies all `size` bytes of a file over those of another, which has `old`, and `path` for the log.
 * What that grows by is written first, once the disk has room for it: a failure before *is_damaged
 * is set leaves the old content.
 */
int fs_bytes_replace(int from, int to, off_t old, off_t size, const char *path, bool *is_damaged);

/* Whether a call failed for want of something, so that it would fail elsewhere, too. */
bool fs_is_shortage(int number);

/*
 * Bytes on their way into a file. Part of fs. 0, or -1 with errno. Thread-safe.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* write(2) of all. A FIFO or a terminal may take its time, but not for ever. */
int fs_bytes_write(int fd, const char *data, size_t length);

/* Copies the content from `begin` to `end` to the same place in another file. */
int fs_bytes_copy(int from, int to, off_t begin, off_t end);

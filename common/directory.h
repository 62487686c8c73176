/*
 * Directories and what is in them, always relative to a descriptor. Thread-safe.
 */
#ifndef COMMON_DIRECTORY_H
#define COMMON_DIRECTORY_H

#include <dirent.h>
#include <stdbool.h>

/* A stream of its own for a directory, from its first entry: reading it moves nobody's position.
 * The caller closes it. NULL with errno. */
DIR *directory_list(int directory);

/* The next name but "." and "..", valid until the next call. NULL with errno, which is 0 at the
 * end.
 */
const char *directory_next(DIR *entries);

/* Whether there is an entry of this name, a link that leads nowhere as well. (Not by faccessat(3):
 * libc makes another call of that, which old seccomp profiles refuse.) */
bool directory_has(int directory, const char *name);

/* 1 if nothing is in it, 0 if something is, -1 with errno. */
int directory_is_empty(int directory);

/* Removes everything in it, as tree_remove() does. 0, or -1 with errno and what is left. */
int directory_empty(int directory);

/* The same, but for the entry of this name. */
int directory_empty_but(int directory, const char *kept);

#endif

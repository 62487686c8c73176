/*
 * Directories and their entries, always relative to a descriptor. Thread-safe.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>

/* A stream with a position of its own, at the first entry of the directory. The caller closes it.
 * NULL with errno. */
DIR *directory_list(int directory);

/* The next name but "." and "..", valid until the next call. NULL with errno, 0 at the end. */
const char *directory_next(DIR *entries);

/* Whether there is an entry of this name; a link that leads nowhere is one. (Not by faccessat(3):
 * libc calls faccessat2(2), which old seccomp profiles refuse.) */
bool directory_has(int directory, const char *name);

/* 1 if there are no entries, 0 if there are, -1 with errno. */
int directory_is_empty(int directory);

/* Removes all entries as tree_remove() does. 0, or -1 with errno when some are left. */
int directory_empty(int directory);

/* The same, but for the entries of these names, of which the last is NULL. */
int directory_empty_but(int directory, const char *const kept[]);

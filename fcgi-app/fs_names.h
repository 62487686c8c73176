/*
 * A growing list of file names. Part of fs; nobody else needs it.
 */
#ifndef FCGI_APP_FS_NAMES_H
#define FCGI_APP_FS_NAMES_H

#include <stddef.h>

/* All zero is an empty list. */
struct fs_names {
    char **names; /* owned, each of them too */
    size_t count, capacity;
};

/* Adds a copy of `name` at the end. 0, or -1 with errno when memory is out. */
int fs_names_add(struct fs_names *list, const char *name);

/* Removes the last name of a list that has one. */
void fs_names_drop_last(struct fs_names *list);

/* Empties the list and frees all of it. */
void fs_names_clear(struct fs_names *list);

#endif

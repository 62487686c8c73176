/*
 * A growing list of file names in one piece of memory.
 */
#pragma once

#include <stddef.h>

/* All zero is an empty list. It belongs to one thread. */
struct name_list {
    char *text; /* the names, each with its NUL */
    size_t size, capacity;
    size_t *starts; /* where each of them begins */
    size_t count, most;
};

/* Adds a copy of `name` at the end. 0, or -1 with errno when memory is out. */
int name_list_add(struct name_list *list, const char *name);

/* Adds an element of `length` bytes, its NUL included, which the caller writes: the place, valid
 * until another is added. NULL with errno when memory is out. */
char *name_list_new(struct name_list *list, size_t length);

/* The name with that index, below `count`; valid until one is added. */
const char *name_list_at(const struct name_list *list, size_t index);

/* Removes the last name of a list that has one; not after sorting. */
void name_list_drop_last(struct name_list *list);

/* Sorts by bytes. */
void name_list_sort(struct name_list *list);

/* Empties the list and frees all of it. */
void name_list_clear(struct name_list *list);

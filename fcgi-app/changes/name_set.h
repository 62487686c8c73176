/*
 * The names in a directory, as hashes of four bytes each: whether a file that takes a name replaces
 * another. It may be wrong about one name in some hundred thousand, and forgets names rather than
 * to look for long. It belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is an empty set. */
struct name_set {
    uint32_t *slots;
    size_t capacity, used; /* slots that are not free, also of names that were removed */
};

void name_set_add(struct name_set *set, const char *name);
void name_set_remove(struct name_set *set, const char *name);
bool name_set_has(const struct name_set *set, const char *name);

/* Empties the set and frees all of it. */
void name_set_clear(struct name_set *set);

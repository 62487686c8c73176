/*
 * The output that an answer of /read_output will have: gathered until there is enough of it.
 * Belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/output/text_finder.h"

struct spool;

struct gathered {
    struct spool *bytes; /* owned */
    size_t length;       /* of the bytes that count */
    size_t most;
    struct text_finder until; /* the text behind which it is enough */
    bool is_found;
    int error; /* an errno: it could not be kept */
};

/* Keeps at most `most` bytes, up to the end of `until` (borrowed), unless that is NULL. 0, or -1:
 * memory is out. */
int gathered_init(struct gathered *gathered, size_t most, const char *until);
void gathered_clear(struct gathered *gathered);

/* Whether no more is wanted. */
bool gathered_is_enough(const struct gathered *gathered);
bool gathered_is_full(const struct gathered *gathered);

/* Takes the next bytes, and looks for `until` in them if `counts`. How many it took: fewer than all
 * only if that is enough. */
size_t gathered_take(struct gathered *gathered, const char *data, size_t length, bool counts);

/* Gives the beginning of a character at the end back, unless it is all. How many bytes. */
size_t gathered_cut(struct gathered *gathered);

/*
 * Finds a fixed text in large ones, at the speed of memchr(3): by the byte of it that is rare in
 * most texts.
 */
#pragma once

#include <stddef.h>

struct literal {
    const char *text; /* borrowed */
    size_t length;    /* at least 1 */
    size_t rare;      /* which byte */
};

/* `text` has at least one byte, and is borrowed until the last search. */
struct literal literal_of(const char *text, size_t length);

/* The first place in [begin, end), or NULL. Thread-safe. */
const char *literal_find(const struct literal *literal, const char *begin, const char *end);

/*
 * Looks for a text in bytes that come in pieces, cut anywhere. Belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_FINDER_MAX ((size_t)4096)

struct text_finder {
    char *text; /* owned; NULL: it looks for nothing */
    size_t length;
    uint16_t *shorter; /* of each length that matches: the next shorter one that does, too */
    size_t matched;    /* how much of the text the bytes so far end with */
};

/* Looks for a text of 1 to TEXT_FINDER_MAX bytes. 0, or -1: memory is out. */
int text_finder_init(struct text_finder *finder, const char *text);
void text_finder_clear(struct text_finder *finder);

/* Looks at the next piece. How many of its bytes there are up to the end of the text: then *found,
 * and the finder begins anew. */
size_t text_finder_feed(struct text_finder *finder, const char *data, size_t length, bool *found);

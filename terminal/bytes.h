/*
 * Bytes that wait. It has memory only while some do.
 */
#pragma once

#include <stddef.h>

/* Begin with zeros. */
struct bytes {
    char *data; /* those that wait are data[begin..end) */
    size_t begin;
    size_t end;
    size_t size;
};

static inline size_t bytes_length(const struct bytes *bytes)
{
    return bytes->end - bytes->begin;
}

/* Appends. 0, or -1 when memory is out. */
int bytes_add(struct bytes *bytes, const void *data, size_t length);

/* Takes the first ones away. */
void bytes_drop(struct bytes *bytes, size_t length);

/* Frees it. */
void bytes_clear(struct bytes *bytes);

/*
 * Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#pragma once

#include <stddef.h>

#define UTF8_REPLACEMENT        "\xef\xbf\xbd" /* U+FFFD */
#define UTF8_REPLACEMENT_LENGTH 3

enum { UTF8_INVALID = 0, UTF8_UNFINISHED = -1 };

/*
 * The length (1..4) of the sequence at data[0..available), available >= 1; UTF8_INVALID when its
 * first byte begins none; UTF8_UNFINISHED when the bytes are the beginning of one. Thread-safe.
 */
static inline int utf8_sequence(const unsigned char *data, size_t available)
{
    unsigned char lead = data[0], low = 0x80, high = 0xbf;
    int length;
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return UTF8_INVALID;
    }
    if (lead < 0xe0) {
        length = 2;
    } else if (lead < 0xf0) {
        length = 3;
        low = lead == 0xe0 ? 0xa0 : low;   /* overlong */
        high = lead == 0xed ? 0x9f : high; /* surrogates */
    } else {
        length = 4;
        low = lead == 0xf0 ? 0x90 : low;   /* overlong */
        high = lead == 0xf4 ? 0x8f : high; /* above U+10FFFF */
    }
    for (int i = 1; i < length; i++, low = 0x80, high = 0xbf) {
        if ((size_t)i == available) {
            return UTF8_UNFINISHED;
        }
        if (data[i] < low || data[i] > high) {
            return UTF8_INVALID;
        }
    }
    return length;
}

/* How many bytes of data[0..length) are whole valid sequences, from the first on. Thread-safe. */
size_t utf8_valid_length(const char *data, size_t length);

/* How many bytes at the end of data[0..length) are the beginning of a sequence. Thread-safe. */
size_t utf8_unfinished_length(const char *data, size_t length);

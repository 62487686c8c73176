/*
 * The text that stands for any bytes in JSON: what is no UTF-8 is U+FFFD, byte by byte. A second
 * opinion on common/utf8.h, by code points instead of ranges of bytes, for targets to compare with.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The length of the UTF-8 sequence at the beginning of data[0..left), 0 if there is none. */
static inline size_t text_sequence(const unsigned char *data, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = data[0] < 0x80             ? 1
                    : (data[0] & 0xe0) == 0xc0 ? 2
                    : (data[0] & 0xf0) == 0xe0 ? 3
                    : (data[0] & 0xf8) == 0xf0 ? 4
                                               : 0;
    if (length == 0 || length > left) {
        return 0;
    }
    uint32_t point = length == 1 ? data[0] : data[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((data[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (data[i] & 0x3fU);
    }
    return point < least[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)
               ? 0
               : length;
}

/* Nothing in data[0..length) ends a line for a client that splits text as Python does. */
static inline void assert_no_separator(const char *data, size_t length)
{
    static const char *const separators[] = {
        "\n", "\v", "\f", "\r", "\x1c", "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    for (size_t i = 0; i < sizeof(separators) / sizeof(separators[0]); i++) {
        assert(memmem(data, length, separators[i], strlen(separators[i])) == NULL);
    }
}

/* The text of data[0..length): *text_length bytes and a NUL. The caller frees it. */
static inline char *text_of(const char *data, size_t length, size_t *text_length)
{
    char *text = malloc(3 * length + 1);
    assert(text != NULL);
    char *out = text;
    for (size_t at = 0; at < length;) {
        size_t sequence = text_sequence((const unsigned char *)data + at, length - at);
        out = sequence > 0 ? mempcpy(out, data + at, sequence) : mempcpy(out, "\xef\xbf\xbd", 3);
        at += sequence > 0 ? sequence : 1;
    }
    *out = '\0';
    *text_length = (size_t)(out - text);
    return text;
}

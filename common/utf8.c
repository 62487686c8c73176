#include "common/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* How many of the bytes, by eights, are ASCII. */
static size_t ascii_length(const char *data, size_t length)
{
    size_t at = 0;
    uint64_t word;
    for (; length - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, data + at, sizeof(word));
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
    }
    return at;
}

size_t utf8_valid_length(const char *data, size_t length)
{
    size_t at = 0;
    while ((at += ascii_length(data + at, length - at)) < length) {
        int sequence = utf8_sequence((const unsigned char *)data + at, length - at);
        if (sequence <= 0) {
            break;
        }
        at += (size_t)sequence;
    }
    return at;
}

char *utf8_copy(const char *text)
{
    size_t length = strlen(text);
    char *copy = malloc(length * UTF8_REPLACEMENT_LENGTH + 1);
    if (copy == NULL) {
        return NULL;
    }
    char *out = copy;
    for (const char *at = text, *end = text + length; at < end;) {
        int sequence = utf8_sequence((const unsigned char *)at, (size_t)(end - at));
        if (sequence > 0) {
            out = mempcpy(out, at, (size_t)sequence);
            at += sequence;
        } else {
            out = mempcpy(out, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LENGTH);
            at++;
        }
    }
    *out = '\0';
    return copy;
}

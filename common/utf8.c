#include "common/utf8.h"

#include <stdint.h>
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

size_t utf8_unfinished_length(const char *data, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        const unsigned char *begin = (const unsigned char *)data + length - back;
        if (*begin >= 0xc0) {
            return utf8_sequence(begin, back) == UTF8_UNFINISHED ? back : 0;
        }
    }
    return 0;
}

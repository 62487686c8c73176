#include "terminal/bytes.h"

#include <stdlib.h>
#include <string.h>

int bytes_add(struct bytes *bytes, const void *data, size_t length)
{
    size_t waiting = bytes_length(bytes);
    if (length == 0) {
        return 0;
    }
    if (bytes->end + length > bytes->size) {
        /* Twice as much, so that what is added in small pieces is seldom copied. */
        size_t size = waiting + (length > waiting ? length : waiting);
        char *grown = malloc(size);
        if (grown == NULL) {
            return -1;
        }
        if (waiting > 0) {
            memcpy(grown, bytes->data + bytes->begin, waiting);
        }
        free(bytes->data);
        *bytes = (struct bytes){.data = grown, .end = waiting, .size = size};
    }
    memcpy(bytes->data + bytes->end, data, length);
    bytes->end += length;
    return 0;
}

void bytes_drop(struct bytes *bytes, size_t length)
{
    bytes->begin += length;
    if (bytes->begin == bytes->end) {
        bytes_clear(bytes);
    }
}

void bytes_clear(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

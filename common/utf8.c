/*
 * Valid UTF-8 out of any string.
 */
#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>

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

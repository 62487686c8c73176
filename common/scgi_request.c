#include "common/scgi_request.h"

#include <stdlib.h>
#include <string.h>

const char *scgi_header(const char *text, size_t length, const char *wanted)
{
    char *colon = NULL;
    unsigned long size = strtoul(text, &colon, 10);
    size_t begin = (size_t)(colon - text) + 1;
    if (*colon != ':' || size == 0 || size > length || begin + size >= length ||
        text[begin + size] != ',' || text[begin + size - 1] != '\0') {
        return NULL;
    }
    const char *end = text + begin + size;
    for (const char *name = text + begin; name < end;) {
        const char *value = name + strlen(name) + 1;
        if (value >= end) {
            return NULL;
        }
        if (strcmp(name, wanted) == 0) {
            return value;
        }
        name = value + strlen(value) + 1;
    }
    return NULL;
}

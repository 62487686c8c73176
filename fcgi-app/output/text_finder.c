/*
 * The algorithm of Knuth, Morris and Pratt: no byte is looked at a second time, so none has to be
 * kept.
 */
#include "fcgi-app/output/text_finder.h"

#include <stdlib.h>
#include <string.h>

/* How much of the text matches when another byte follows what matches. */
static size_t step(const struct text_finder *finder, size_t matched, char byte)
{
    while (matched > 0 && finder->text[matched] != byte) {
        matched = finder->shorter[matched];
    }
    return finder->text[matched] == byte ? matched + 1 : 0;
}

int text_finder_init(struct text_finder *finder, const char *text)
{
    size_t length = strlen(text);
    *finder = (struct text_finder){.text = strdup(text),
                                   .length = length,
                                   .shorter = calloc(length + 1, sizeof(*finder->shorter))};
    if (finder->text == NULL || finder->shorter == NULL) {
        text_finder_clear(finder);
        return -1;
    }
    for (size_t i = 1; i < length; i++) {
        finder->shorter[i + 1] = (uint16_t)step(finder, finder->shorter[i], text[i]);
    }
    return 0;
}

void text_finder_clear(struct text_finder *finder)
{
    free(finder->text);
    free(finder->shorter);
    *finder = (struct text_finder){.length = 0};
}

size_t text_finder_feed(struct text_finder *finder, const char *data, size_t length, bool *found)
{
    *found = false;
    if (finder->text == NULL) {
        return length;
    }
    for (size_t i = 0; i < length; i++) {
        finder->matched = step(finder, finder->matched, data[i]);
        if (finder->matched == finder->length) {
            finder->matched = 0;
            *found = true;
            return i + 1;
        }
    }
    return length;
}

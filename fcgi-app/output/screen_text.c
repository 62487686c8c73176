#include "fcgi-app/output/screen_text.h"

#include <stdlib.h>
#include <string.h>

#define FACTS       4
#define FACTS_SIZE  64
#define DIGITS_MOST 5

/* The numbers of the first line, with one space between them. */
static bool parse_facts(const char *line, size_t length, int facts[FACTS])
{
    char text[FACTS_SIZE];
    const char *at = text;
    if (length >= sizeof(text)) {
        return false;
    }
    memcpy(text, line, length);
    text[length] = '\0';
    for (int i = 0; i < FACTS; i++) {
        size_t digits = strspn(at, "0123456789");
        char end = i == FACTS - 1 ? '\0' : ' ';
        if (digits == 0 || digits > DIGITS_MOST || at[digits] != end) {
            return false;
        }
        facts[i] = (int)strtol(at, NULL, 10);
        at += digits + (end == ' ');
    }
    return at == text + length;
}

bool screen_text_parse(const char *data, size_t length, struct screen_text *screen)
{
    int facts[FACTS];
    const char *end = data + length;
    const char *first = memchr(data, '\n', length);
    if (first == NULL || !parse_facts(data, (size_t)(first - data), facts)) {
        return false;
    }
    const char *title = first + 1;
    const char *second = memchr(title, '\n', (size_t)(end - title));
    if (second == NULL || end[-1] != '\n' || second + 1 == end) {
        return false;
    }
    *screen = (struct screen_text){.row = facts[0],
                                   .col = facts[1],
                                   .is_visible = facts[2] != 0,
                                   .is_alternate = facts[3] != 0,
                                   .title = title,
                                   .title_length = (size_t)(second - title),
                                   .text = second + 1,
                                   .text_length = (size_t)(end - 1 - (second + 1))};
    return true;
}

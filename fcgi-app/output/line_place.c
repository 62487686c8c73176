#include "fcgi-app/output/line_place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAKEN_DIGITS 12 /* no line has so many bytes that they need more */

bool line_place_parse(const char *text, struct event_id *id, struct line_place *place)
{
    size_t length = strcspn(text, "+");
    const char *taken = text + length + (text[length] == '+');
    size_t digits = strspn(taken, "0123456789");
    if (length >= EVENT_ID_SIZE || taken[digits] != '\0' || digits > TAKEN_DIGITS ||
        (text[length] == '+' && (digits == 0 || *taken == '0')) ||
        !event_id_parse(text, length, id)) {
        return false;
    }
    *place = (struct line_place){
        .offset = id->offset, .line = id->line, .taken = strtoull(taken, NULL, 10)};
    return true;
}

void line_place_render(const char *job_id, const struct line_place *place,
                       char text[LINE_PLACE_SIZE])
{
    size_t length = event_id_render(job_id, place->offset, place->line, text);
    if (place->taken > 0) {
        (void)snprintf(text + length, LINE_PLACE_SIZE - length, "+%" PRIu64, place->taken);
    }
}

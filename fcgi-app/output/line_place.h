/*
 * A place in the output of a process that has lines: where an event of its log begins or will
 * begin, and how many bytes of that line lie before the place. Clients see it as the id that this
 * event has, with +<bytes> behind it if there are any.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "procd/log/event_id.h"

struct line_place {
    uint64_t offset; /* of the event, in the log */
    uint64_t line;   /* its number */
    uint64_t taken;  /* bytes of its text */
};

#define LINE_PLACE_SIZE (EVENT_ID_SIZE + 21)

/* Reads a place as clients give it. *id is that of its event. */
bool line_place_parse(const char *text, struct event_id *id, struct line_place *place);

void line_place_render(const char *job_id, const struct line_place *place,
                       char text[LINE_PLACE_SIZE]);

/*
 * A change as an event of a stream.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/changes/change_set.h"
#include "fcgi-app/http/sse.h"
#include "procd/log/event_id.h"

struct glob;

/* Of all changes of a stream. */
struct change_style {
    const char *root;               /* what paths begin with; borrowed */
    const struct glob *glob;        /* NULL: it chooses all; borrowed */
    char tag[EVENT_TAG_LENGTH + 1]; /* what ids begin with */
};

/* How much room change_text_render() needs. */
size_t change_text_size(const struct change_style *style, const struct change *change);

/* Renders the event with this number into `out`, without a NUL. How many bytes it wrote; 0 if the
 * glob does not choose it. */
size_t change_text_render(char *out, const struct change_style *style, const struct change *change,
                          uint64_t number);

/* Renders the id of the event with this number. Returns `id`. */
const char *change_text_id(const struct change_style *style, uint64_t number,
                           char id[EVENT_ID_SIZE]);

/*
 * The text of the lines in a job's log, taken out of its events (job_files.h) piece by piece, in
 * bounded memory: a line may be long. Begins with zeros. Belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "procd/log/event_id.h"

#define EVENT_TEXT_EDGE 160 /* more than all of an event before or behind its data */

struct event_text {
    enum { EVENT_AT_HEAD, EVENT_IN_DATA, EVENT_AT_TAIL } state;
    char edge[EVENT_TEXT_EDGE]; /* what came of the head or the tail */
    size_t edge_length;
    char escape[6]; /* what came of an escape */
    size_t escape_length;
    char character[3]; /* that an escape stands for */
    uint64_t length;   /* bytes of the event so far */
};

enum event_text_kind {
    EVENT_TEXT_MORE,  /* the bytes are used up */
    EVENT_TEXT_PIECE, /* of a line: text[0..length), valid until the next call */
    EVENT_TEXT_LINE,  /* the event of a line is whole */
    EVENT_TEXT_GAP,   /* an event that counts lost lines is whole */
    EVENT_TEXT_BAD,   /* not from a runner; the reader is of no use any more */
};

struct event_text_part {
    const char *text;
    size_t length;
    struct event event;    /* of a whole event: its id, or how many lines were missed */
    uint64_t event_length; /* its bytes */
    bool is_continued;     /* the line goes on in the next event of its stream */
};

/* The next part of the bytes (*data)[0..*length), of which it takes those that it has read. */
enum event_text_kind event_text_next(struct event_text *event, const char **data, size_t *length,
                                     struct event_text_part *part);

/*
 * Reads the output of a process that has lines, from its log: each line with a newline behind it,
 * both streams in the order of the log. Belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/output/line_place.h"
#include "fcgi-app/processes/log_cursor.h"
#include "procd/log/event_text.h"

struct gathered;

struct line_output {
    struct log_cursor cursor;
    struct line_place place; /* of what is read next */
    uint64_t counts_from;    /* the offset of the first event in which the client's text counts */
    struct event_text event; /* the one that is being read */
    uint64_t skip;           /* bytes of its text that the client has already */
    bool has_rest;           /* more was read than the client wanted */
    uint64_t missed_bytes, missed_lines;
    bool lines_known; /* missed_lines is all */
};

/* At the beginning of the log in a directory (borrowed). */
void line_output_init(struct line_output *output, int directory);
void line_output_clear(struct line_output *output);

/* To the place behind all that is there. 0, or -1 with errno. */
int line_output_seek_end(struct line_output *output);

/* The client's text counts in what comes from now on. 0, or -1 with errno. */
int line_output_count_from_end(struct line_output *output);

/* To a place that a client gives. */
enum log_seek line_output_seek(struct line_output *output, const struct line_place *place);

/* Gathers what comes next, through `size` bytes of a buffer. 1; 0 when there is nothing more for
 * now; -1 with errno. It does not wait. */
int line_output_read(struct line_output *output, char *buffer, size_t size,
                     struct gathered *gathered);

/* Whether something lies behind the place. 1, 0, or -1 with errno. */
int line_output_has_more(struct line_output *output);

/* The last bytes that were gathered come once more. */
void line_output_give_back(struct line_output *output, size_t length);

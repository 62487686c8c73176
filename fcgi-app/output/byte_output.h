/*
 * Reads the output of a process that has a terminal, from its byte log. Belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "procd/log/byte_cursor.h"

struct gathered;

struct byte_output {
    struct byte_cursor cursor;
    uint64_t place;       /* the offset of what is read next */
    uint64_t counts_from; /* the offset from which on the client's text counts */
    bool has_rest;        /* more was read than the client wanted */
    uint64_t missed_bytes;
};

/* At the beginning of the log in a directory (borrowed). */
void byte_output_init(struct byte_output *output, int directory);
void byte_output_clear(struct byte_output *output);

void byte_output_seek(struct byte_output *output, uint64_t offset);

/* Gathers what comes next, through `size` bytes of a buffer. 1; 0 when there is nothing more for
 * now; -1 with errno. It does not wait. */
int byte_output_read(struct byte_output *output, char *buffer, size_t size,
                     struct gathered *gathered);

/* The process has ended and all was read: what a full disk has cost at the end is missing. 0, or -1
 * with errno. */
int byte_output_finish(struct byte_output *output);

/* Whether something lies behind the place. 1, 0, or -1 with errno. */
int byte_output_has_more(struct byte_output *output);

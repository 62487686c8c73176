/*
 * Reads the output of a process from a place on: of one with lines (line_output.h) or with a
 * terminal (byte_output.h). Belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/output/byte_output.h"
#include "fcgi-app/output/line_output.h"

struct gathered;

struct output_reader {
    int directory; /* borrowed */
    bool is_terminal;
    union {
        struct line_output lines;
        struct byte_output bytes; /* of a terminal */
    };
};

/* At the beginning of what is in a process's directory (borrowed). */
void output_reader_init(struct output_reader *reader, int directory);
void output_reader_clear(struct output_reader *reader);

/* To a place that a client gives; LOG_SEEK_FOREIGN if it is another process's. */
enum log_seek output_reader_seek(struct output_reader *reader, const char *job_id,
                                 const char *place);

/* To the place behind all that is there. 0, or -1 with errno. */
int output_reader_seek_end(struct output_reader *reader);

/* The client's text counts in what comes from now on. 0, or -1 with errno. */
int output_reader_count_from_end(struct output_reader *reader);

/* Gathers what comes next, through `size` bytes of a buffer. 1; 0 when there is nothing more for
 * now; -1 with errno. It does not wait. */
int output_reader_read(struct output_reader *reader, char *buffer, size_t size,
                       struct gathered *gathered);

/* The process has ended, and all was read. 0, or -1 with errno. */
int output_reader_finish(struct output_reader *reader);

/* Whether something lies behind the place. 1, 0, or -1 with errno. */
int output_reader_has_more(struct output_reader *reader);

/* The last bytes that were gathered come once more. */
void output_reader_give_back(struct output_reader *reader, size_t length);

/* The place of what is read next. */
struct line_place output_reader_place(const struct output_reader *reader);

/* From where on output counts: an offset, as that of a place. */
uint64_t output_reader_counts_from(const struct output_reader *reader);

/* When what was read last was written, in ms of the date; -1: unknown. */
int64_t output_reader_written_ms(const struct output_reader *reader);

/* Writes a place as it stands in JSON. */
#define OUTPUT_PLACE_SIZE (LINE_PLACE_SIZE + 2)
void output_reader_render(const struct output_reader *reader, const char *job_id,
                          const struct line_place *place, char text[OUTPUT_PLACE_SIZE]);

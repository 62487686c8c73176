/*
 * The answer of /read_output, whole: status, header lines and a JSON object.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/errors.h"
#include "fcgi-app/files/content.h"
#include "fcgi-app/output/output_reader.h"

struct gathered;
struct job;
struct spool;

/* Why an answer was given. */
enum output_why {
    OUTPUT_UNTIL,    /* the text was seen */
    OUTPUT_QUIET,    /* nothing more came for a while */
    OUTPUT_FULL,     /* there is as much as the client takes */
    OUTPUT_ENDED,    /* the process has ended, and this is all of it */
    OUTPUT_TIMEOUT,  /* the time is over */
    OUTPUT_STOPPING, /* the server stops */
};

struct output_report {
    const struct gathered *gathered;
    enum coding coding;
    enum output_why why;
    char offset[OUTPUT_PLACE_SIZE];      /* where the output begins */
    char next_offset[OUTPUT_PLACE_SIZE]; /* where it ends */
    bool has_more;
    uint64_t missed_bytes, missed_lines;
    bool lines_known;
    bool has_input; /* something was written first: */
    size_t written;
    bool is_input_full;
    const struct job *job; /* its status, and its ending if it has ended */
};

#define OUTPUT_HEAD_SIZE 192

/* Begins with zeros. */
struct output_answer {
    int status; /* 0: it is not made yet */
    char head[OUTPUT_HEAD_SIZE];
    size_t head_length;
    struct spool *body; /* owned */
};

/* Makes the answer with status 200. 0, or -1 with errno: it could not be kept. */
int output_answer_make(struct output_answer *answer, const struct output_report *report);

/* Makes an error; with ERROR_may_have_run it says that something was written. The message needs no
 * escapes in JSON. 0, or -1: memory is out. */
int output_answer_fail(struct output_answer *answer, int status, enum api_error error,
                       const char *message);

/* Copies up to `size` bytes of it from `offset` on. The count (0 at the end), or -1 with errno. */
ssize_t output_answer_read(const struct output_answer *answer, uint64_t offset, char *data,
                           size_t size);

void output_answer_clear(struct output_answer *answer);

/*
 * A request of /read_output that waits for output: an answer that needs no thread (streams.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/output/gathered.h"
#include "fcgi-app/output/output_answer.h"
#include "fcgi-app/output/output_reader.h"
#include "fcgi-app/processes/input.h"
#include "fcgi-app/streams/stream_source.h"
#include "procd/wire/client.h"

struct output_wait {
    struct stream_source source; /* its directory is the process's; owned */
    char id[JOB_ID_SIZE];
    struct output_reader reader;
    struct gathered gathered;
    enum coding coding;
    int64_t settle_ms;       /* -1: quiet is no reason to answer */
    int64_t until_ms;        /* when the time is over: of the monotonic clock */
    int64_t last_output_ms;  /* the same: when the last output came; 0: none yet */
    struct line_place begin; /* of the output */
    bool has_input;
    struct input_written input;
    bool job_ended; /* no more output will come */
    struct output_answer answer;
    uint64_t sent; /* bytes of the answer */
};

/* A wait for the output of this process, whose directory it takes over. NULL with errno. The caller
 * fills in what it waits for. */
struct output_wait *output_wait_new(const char *id, int directory, size_t most, const char *until);
void output_wait_free(struct output_wait *wait);

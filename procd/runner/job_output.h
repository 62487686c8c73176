/*
 * The output of a background job: its pipes, in the order in which they were written to, on their
 * way to its log.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>

#include "common/pipe_order.h"
#include "procd/log/job_log.h"
#include "procd/runner/job_stream.h"
#include "procd/runner/spawn.h"

struct job_output {
    struct job_stream streams[2]; /* stdout, stderr; without a pipe when both are one */
    struct pipe_order order;
    int watch; /* owned; of pipe_order_watch(), or -1 */
    int last;  /* the stream that was read last */
    struct job_log *log;
};

#define JOB_OUTPUT_NONE                                                                            \
    {                                                                                              \
        .streams = {{.fd = -1}, {.fd = -1}}, .watch = -1                                           \
    }

/* Takes over the read ends of `pipes` and their watch. `log` and `directory` are borrowed; an
 * unfinished line may need a file there. One is logged as far as it has come after `patience_ms`,
 * or LINE_PATIENCE_NONE. */
void job_output_open(struct job_output *output, struct command_pipes *pipes, struct job_log *log,
                     int directory, int64_t patience_ms);

/* The shorter of `wait_ms` and the time until a line is to be logged so, in ms; -1: for ever. */
int job_output_patience(const struct job_output *output, int wait_ms);

/* Does what is due. */
void job_output_serve(struct job_output *output);

/* Whether a pipe is open. */
bool job_output_is_open(const struct job_output *output);

/* Reads the two streams, as poll(2) has reported, until there is no more for now, but a limited
 * number of times, because the caller has other work. Then flushes the log. */
void job_output_read(struct job_output *output, const struct pollfd polled[2]);

/* Reads what the pipes hold now, and logs the unfinished last lines. Pipes that are still open then
 * have other writers: see job_output_leave. */
void job_output_finish(struct job_output *output);

/* Gives the pipes to the caller and closes everything else. */
void job_output_leave(struct job_output *output, int pipes[2]);

/*
 * One output stream of a background job on its way from the pipe to the log.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_RUNNER_JOB_STREAM_H
#define PROCD_RUNNER_JOB_STREAM_H

#include <stdbool.h>

#include "procd/log/job_log.h"

struct job_stream {
    int fd;           /* read end, non-blocking; -1 once it has ended */
    const char *name; /* "stdout" or "stderr" */
    struct line_reader reader;
    struct job_log *log;
};

/* Takes `fd` over; `log` is borrowed, `directory` too: an unfinished line may need a file there. */
void job_stream_open(struct job_stream *stream, int fd, const char *name, struct job_log *log,
                     int directory);

/*
 * Reads once what the pipe has. True when there may be more to read at once, false when the pipe is
 * empty for the moment, or at its end, where it is closed. Lines go to the log, which is not
 * flushed.
 */
bool job_stream_read(struct job_stream *stream);

/* Reads what the pipe holds now and no more: for a pipe that somebody still writes to. */
void job_stream_read_rest(struct job_stream *stream);

/* Passes on an unfinished last line and releases all but `fd`. */
void job_stream_end(struct job_stream *stream);

#endif

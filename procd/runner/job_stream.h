/*
 * One output stream of a background job on its way from the pipe to the log.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stddef.h>

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

/* Takes the next bytes of the stream. Lines go to the log, which is not flushed. */
void job_stream_feed(struct job_stream *stream, const char *data, size_t length);

/* Logs what there is of an unfinished line if that is due (reader.due_ms). */
void job_stream_serve(struct job_stream *stream);

/* An unfinished line that cannot be kept (a full disk) is lost, which is logged and counted; the
 * job goes on. */
void job_stream_lose_line(struct job_stream *stream);

/* Passes on an unfinished last line and releases all but `fd`. */
void job_stream_end(struct job_stream *stream);

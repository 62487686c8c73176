/*
 * A line that grows too long, or waits too long, is logged in pieces.
 */
#include "procd/runner/job_stream.h"

#include "common/logger.h"

#define HELD_MEMORY_MAX ((size_t)65536) /* of an unfinished line; the rest is in a file */

void job_stream_open(struct job_stream *stream, int fd, const char *name, struct job_log *log,
                     int directory)
{
    *stream = (struct job_stream){.fd = fd, .name = name, .log = log};
    line_reader_init(&stream->reader, directory, HELD_MEMORY_MAX);
}

static int take_line(void *context, const struct line *line)
{
    struct job_stream *stream = context;
    job_log_line(stream->log, stream->name, line);
    return 0;
}

void job_stream_lose_line(struct job_stream *stream)
{
    log_at(LOG_WARNING, "job: an unfinished line is dropped: %m");
    line_reader_clear(&stream->reader);
    job_log_drop(stream->log);
}

/* Logs what there is of an unfinished line, so that it does not fill the disk. */
static void split_line(struct job_stream *stream)
{
    if (line_reader_split(&stream->reader, take_line, stream) < 0) {
        job_stream_lose_line(stream);
    }
}

void job_stream_serve(struct job_stream *stream)
{
    if (line_reader_serve(&stream->reader, take_line, stream) < 0) {
        job_stream_lose_line(stream);
    }
}

void job_stream_feed(struct job_stream *stream, const char *data, size_t length)
{
    if (line_reader_feed(&stream->reader, data, length, take_line, stream) < 0) {
        job_stream_lose_line(stream);
    }
    if (line_reader_pending(&stream->reader) > stream->log->event_max) {
        split_line(stream);
    }
}

void job_stream_end(struct job_stream *stream)
{
    if (line_reader_end(&stream->reader, take_line, stream) < 0) {
        job_stream_lose_line(stream);
    }
    line_reader_clear(&stream->reader);
}

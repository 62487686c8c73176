/*
 * A line that grows too long is logged in pieces, each of which ends between characters.
 */
#include "procd/runner/job_stream.h"

#include "common/logger.h"

#define HELD_MEMORY_MAX ((size_t)65536) /* of an unfinished line; the rest is in a file */
#define TAIL_MAX        ((size_t)64)

void job_stream_open(struct job_stream *stream, int fd, const char *name, struct job_log *log,
                     int directory)
{
    *stream = (struct job_stream){.fd = fd, .name = name, .log = log};
    line_reader_init(&stream->reader, directory, HELD_MEMORY_MAX);
}

static int take_line(void *context, const struct line *line)
{
    struct job_stream *stream = context;
    job_log_line(stream->log, stream->name, line, false);
    return 0;
}

void job_stream_lose_line(struct job_stream *stream)
{
    log_at(LOG_WARNING, "job: an unfinished line is dropped: %m");
    line_reader_clear(&stream->reader);
    job_log_drop(stream->log);
}

/*
 * How many bytes at the end of a piece belong to the next one: \r that may end the line, or the
 * beginning of a UTF-8 sequence.
 */
static size_t open_end(const char *tail, size_t length)
{
    size_t open = 0;
    while (open < length && tail[length - 1 - open] == '\r') {
        open++;
    }
    for (size_t back = 1; open == 0 && back <= 3 && back <= length; back++) {
        unsigned char byte = (unsigned char)tail[length - back];
        if (byte >= 0xc0) {
            return back;
        }
        if (byte < 0x80) {
            break;
        }
    }
    return open;
}

/* Logs what there is of an unfinished line, so that it does not fill the disk. */
static void split_line(struct job_stream *stream)
{
    struct spool *held = stream->reader.held;
    uint64_t size = spool_size(held);
    char tail[TAIL_MAX];
    if (spool_read(held, size - sizeof(tail), tail, sizeof(tail)) != (ssize_t)sizeof(tail)) {
        job_stream_lose_line(stream);
        return;
    }
    size_t open = open_end(tail, sizeof(tail));
    const struct line piece = {.held = held, .held_length = size - open, .tail = ""};
    job_log_line(stream->log, stream->name, &piece, true);
    spool_reset(held);
    if (spool_write(held, tail + sizeof(tail) - open, open) < 0) {
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

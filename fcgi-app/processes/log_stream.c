/*
 * The log of a job as the source of a stream. Its events are in the log's files as the client gets
 * them; what is added here are gaps and the end.
 */
#include "fcgi-app/processes/log_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/processes/job_end.h"
#include "fcgi-app/processes/known_list.h"
#include "fcgi-app/processes/log_cursor.h"
#include "fcgi-app/streams/streams.h"
#include "procd/log/event_id.h"
#include "procd/log/job_files.h"

struct log_stream {
    struct stream_source source; /* its directory is the cursor's */
    struct log_cursor cursor;
    uint64_t until; /* the offset at which it is enough; UINT64_MAX: the end of the job */
    bool job_ended; /* the log will not grow any more */
    char end_id[EVENT_ID_SIZE];
};

static void log_stream_free(struct stream_source *source)
{
    struct log_stream *stream = (struct log_stream *)source;
    log_cursor_clear(&stream->cursor);
    close_fd(&source->directory);
    free(stream);
}

static bool log_stream_is_between(const struct stream_source *source)
{
    const struct log_cursor *cursor = &((const struct log_stream *)source)->cursor;
    return cursor->offset == cursor->whole;
}

static void log_stream_unread(struct stream_source *source, size_t length)
{
    log_cursor_unread(&((struct log_stream *)source)->cursor, length);
}

/* 1 when there is such a file in the job's directory, 0 when there is none, -1 when that is
 * unknown: nothing would wake the stream to look again. */
static int has_file(const struct log_stream *stream, const char *name)
{
    struct stat status;
    if (fstatat(stream->source.directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        return 1;
    }
    return errno == ENOENT ? 0 : -1;
}

static bool log_stream_is_complete(const struct stream_source *source)
{
    const struct log_stream *stream = (const struct log_stream *)source;
    return stream->job_ended || job_end_is_there(source->directory) == 1;
}

/* The server counts it, and the client reads what is missing, as far as it is known. */
static size_t render_gap(const struct log_gap *gap, char event[SSE_SHORT_SIZE])
{
    char lines[48] = "";
    char next[EVENT_ID_SIZE + 16] = "";
    if (gap->lines_known) {
        (void)snprintf(lines, sizeof(lines), ",\"missed_lines\":%llu",
                       (unsigned long long)gap->lines);
    }
    if (gap->next_id[0] != '\0') {
        (void)snprintf(next, sizeof(next), ",\"next_id\":\"%s\"", gap->next_id);
    }
    metrics_gap(gap->bytes, gap->lines_known ? gap->lines : 0);
    return sse_short(event, NULL, "gap", "{\"missed_bytes\":%llu%s%s}",
                     (unsigned long long)gap->bytes, lines, next);
}

static enum stream_next read_log(struct log_stream *stream, struct stream_output *output)
{
    struct log_gap gap;
    ssize_t count = log_cursor_read(&stream->cursor, output->bytes, output->size, &gap);
    if (count < 0) {
        return STREAM_FAILED;
    }
    if (gap.bytes > 0) {
        log_cursor_unread(&stream->cursor, (size_t)count);
        output->length = render_gap(&gap, output->event);
        return STREAM_EVENT;
    }
    output->length = (size_t)count;
    return count > 0 ? STREAM_BYTES : STREAM_NOTHING;
}

/* The end of a stream that does not follow its job. While the exit record is being written the job
 * neither runs nor has ended: its socket is gone first. */
static enum stream_next end_early(const struct log_stream *stream, struct stream_output *output)
{
    int runs = has_file(stream, JOB_SOCKET_FILE);
    if (runs <= 0) {
        return runs < 0 ? STREAM_FAILED : STREAM_NOTHING;
    }
    output->length = sse_short(output->event, NULL, "complete",
                               "{\"message\":\"stream ended\",\"running\":true}");
    return STREAM_LAST_EVENT;
}

static enum stream_next log_stream_next(struct stream_source *source, struct stream_output *output)
{
    struct log_stream *stream = (struct log_stream *)source;
    bool is_enough = stream->cursor.offset >= stream->until && log_stream_is_between(source);
    for (;;) {
        enum stream_next next =
            is_enough && !stream->job_ended ? STREAM_NOTHING : read_log(stream, output);
        if (next != STREAM_NOTHING) {
            return next;
        }
        if (stream->job_ended) {
            output->length = sse_short(output->event, stream->end_id, "complete",
                                       "{\"message\":\"stream ended\"}");
            return STREAM_LAST_EVENT;
        }
        int ended = job_end_is_there(source->directory);
        if (ended <= 0) {
            return ended < 0   ? STREAM_FAILED
                   : is_enough ? end_early(stream, output)
                               : STREAM_NOTHING;
        }
        known_list_forget();
        stream->job_ended = true; /* it may have written more since, up to its end */
    }
}

/* Where the log ends now. 0, or -1 with errno. */
static int find_log_end(const struct log_cursor *cursor, uint64_t *end)
{
    struct log_cursor newest;
    log_cursor_init(&newest, cursor->directory);
    int found = log_cursor_seek_newest(&newest, 0);
    *end = newest.offset;
    log_cursor_clear(&newest);
    return found;
}

void log_stream_open(struct request *request, const char *job_id, struct log_cursor *cursor,
                     bool follow, struct admission *admission)
{
    struct log_stream *stream = malloc(sizeof(*stream));
    uint64_t until = UINT64_MAX;
    if (stream == NULL || (!follow && find_log_end(cursor, &until) < 0)) {
        free(stream);
        log_cursor_clear(cursor);
        close_fd(&cursor->directory);
        request_abort(request);
        return;
    }
    *stream = (struct log_stream){.source = {.directory = cursor->directory,
                                             .name = "/process_logs_streaming",
                                             .failure = "The log cannot be read",
                                             .next = log_stream_next,
                                             .unread = log_stream_unread,
                                             .is_between_events = log_stream_is_between,
                                             .is_complete = log_stream_is_complete,
                                             .free = log_stream_free},
                                  .cursor = *cursor,
                                  .until = until};
    event_id_render_end(job_id, stream->end_id);
    stream_open(request, &stream->source, admission);
}

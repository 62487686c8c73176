/*
 * Offsets are those of the whole log. `written` is where the disk ends, and the buffer comes after
 * it. Readers may have read everything before `whole` already, so it is never taken back.
 */
#include "procd/log/job_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/decimal.h"
#include "common/json_text.h"
#include "common/logger.h"
#include "common/rfc3339.h"
#include "procd/log/event_id.h"
#include "procd/log/job_position.h"
#include "procd/log/job_segment.h"

#define PIECE_MAX      ((size_t)16384) /* raw bytes escaped at a time */
#define BUFFER_SIZE    ((size_t)262144)
#define FRAME_MAX      ((size_t)256) /* more than all of an event but its data */
#define SEGMENTS_KEPT  16            /* a log is that many full segments */
#define RETRY_AFTER_MS 100

_Static_assert(BUFFER_SIZE > JSON_ESCAPED_MAX(PIECE_MAX) + FRAME_MAX, "room for a piece");

/* ---- the position ---- */

/* As the disk has it; the buffer is empty. */
static struct job_position position_now(const struct job_log *log)
{
    const struct job_log_segment *oldest = &log->segments[0];
    uint64_t next_line = log->next_line - log->pending;
    bool empty = log->segment_count == 1 && !log->has_line;
    return (struct job_position){
        .first_offset = empty ? log->whole : oldest->first_offset,
        .first_line = empty ? next_line : oldest->first_line,
        .next_offset = log->whole,
        .next_line = next_line,
        .lines_dropped = oldest->first_line + log->lost - oldest->lost,
    };
}

static void note_position(struct job_log *log)
{
    struct job_position now = position_now(log);
    if (memcmp(&now, &log->position, sizeof(now)) != 0 &&
        job_position_update(log->position_fd, &now) == 0) { /* otherwise the next one may succeed */
        log->position = now;
    }
}

/* ---- the disk ---- */

static struct job_log_segment *newest(struct job_log *log)
{
    return &log->segments[log->segment_count - 1];
}

static int open_segment(struct job_log *log)
{
    char name[JOB_SEGMENT_NAME_SIZE];
    job_segment_name(name, log->written);
    int fd = openat(log->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -1;
    }
    close_fd(&log->segment);
    log->segment = fd;
    log->segments[log->segment_count++] =
        (struct job_log_segment){log->written, log->written, log->next_line, log->lost};
    log->has_line = false;
    return 0;
}

/* Makes room for the segment that was just begun; the one before it stays, whatever its size. */
static void unlink_oldest(struct job_log *log)
{
    while (log->segment_count > 2 &&
           (log->segment_count > JOB_LOG_SEGMENTS_MAX ||
            log->written - log->segments[0].start + log->segment_max > log->max_bytes)) {
        char name[JOB_SEGMENT_NAME_SIZE];
        job_segment_name(name, log->segments[0].start);
        if (unlinkat(log->directory, name, 0) < 0 && errno != ENOENT) {
            log_line("job log: unlink: %m");
        }
        log->segment_count--;
        memmove(log->segments, log->segments + 1, log->segment_count * sizeof(log->segments[0]));
    }
}

/* Between events, with an empty buffer. When it fails the old segment grows on. */
static void rotate(struct job_log *log)
{
    if (log->written - newest(log)->start >= log->segment_max && open_segment(log) == 0) {
        unlink_oldest(log);
        note_position(log);
    }
}

static void drop(struct job_log *log, uint64_t lines)
{
    log->dropped += lines;
    log->lost += lines;
}

/* Of the pending lines only `left` are not whole on the disk. */
static void job_log_settle(struct job_log *log, uint64_t left)
{
    log->has_line = log->has_line || left < log->pending;
    log->pending = left;
}

/* How many events with an id are in text[0..length), which are whole. */
static uint64_t count_ids(const char *text, size_t length)
{
    uint64_t count = 0;
    const char *end = text + length;
    while ((text = memmem(text, (size_t)(end - text), EVENT_ID_BEGIN, strlen(EVENT_ID_BEGIN))) !=
           NULL) {
        text += strlen(EVENT_ID_BEGIN);
        count++;
    }
    return count;
}

/*
 * After a failed write that got `done` bytes of the buffer to the disk: keeps the whole events of
 * them, takes the torn one back, and forgets the rest.
 */
static void give_up_batch(struct job_log *log, size_t done)
{
    int error = errno;
    size_t kept = events_end(log->buffer, done);
    job_log_settle(log, log->pending - count_ids(log->buffer, kept));
    drop(log, log->pending);
    log->pending = 0;
    if (kept > 0) {
        log->whole = log->written + kept;
    }
    if (ftruncate(log->segment, (off_t)(log->whole - newest(log)->start)) < 0) {
        log_line("job log: ftruncate: %m");
    }
    log->written = log->whole;
    log->used = 0;
    log->event_lost = log->in_event;
    log->retry_at_ms = (uint64_t)clock_monotonic_ms() + RETRY_AFTER_MS;
    if (!log->reported) {
        log->reported = true;
        errno = error;
        log_line("job log: lines are dropped: %m");
    }
}

/* False when lines were dropped. */
static bool flush(struct job_log *log)
{
    size_t done = 0;
    while (done < log->used) {
        ssize_t count = write(log->segment, log->buffer + done, log->used - done);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            give_up_batch(log, done);
            note_position(log);
            return false;
        }
        done += (size_t)count;
    }
    log->written += done;
    log->used = 0;
    bool open = log->in_event && !log->event_lost;
    job_log_settle(log, open);
    log->whole = open ? log->event_start : log->written;
    note_position(log);
    return true;
}

/* ---- rendering ---- */

static void put(struct job_log *log, const char *text, size_t length)
{
    memcpy(log->buffer + log->used, text, length);
    log->used += length;
}

static void put_text(struct job_log *log, const char *text)
{
    put(log, text, strlen(text));
}

static void put_number(struct job_log *log, uint64_t number)
{
    log->used += decimal_render(log->buffer + log->used, number);
}

static void put_timestamp(struct job_log *log)
{
    uint64_t now = clock_date_ns();
    if (now <= log->last_ns) {
        now = log->last_ns + 1;
    }
    log->last_ns = now;
    time_t second = (time_t)(now / 1000000000U);
    if (second != log->second || log->date[0] == '\0') {
        char text[RFC3339_SIZE];
        memcpy(log->date, rfc3339_format(second, 0, text), sizeof(log->date) - 1);
        log->second = second;
    }
    put(log, log->date, sizeof(log->date) - 1);
    put_number(log, 1000000000U + now % 1000000000U); /* nine digits behind the 1, ... */
    log->buffer[log->used - 10] = '.';                /* ... which becomes the point */
    put_text(log, "Z");
}

static void make_room(struct job_log *log, size_t length)
{
    if (BUFFER_SIZE - log->used < length) {
        (void)flush(log); /* what is dropped is counted */
    }
}

/* Reports dropped lines. False if that could not be written either. */
static bool put_gap(struct job_log *log)
{
    make_room(log, FRAME_MAX);
    uint64_t missed = log->dropped;
    put_text(log, "event: gap\ndata: {\"missed_lines\":");
    put_number(log, missed);
    put_text(log, "}" EVENT_END);
    log->dropped = 0;
    if (!flush(log)) {
        log->dropped += missed;
        return false;
    }
    return true;
}

/* After a failed write the disk gets a pause. */
static bool job_log_may_write(const struct job_log *log)
{
    return log->dropped == 0 || (uint64_t)clock_monotonic_ms() >= log->retry_at_ms;
}

/* Whether an event can begin: there is room for its beginning, in a segment that is not full, and
 * missing lines before it have been reported. */
static bool job_log_prepare(struct job_log *log)
{
    if (!job_log_may_write(log)) {
        return false;
    }
    make_room(log, FRAME_MAX);
    if (log->written + log->used - newest(log)->start >= log->segment_max) {
        (void)flush(log); /* what is dropped is counted */
        rotate(log);
    }
    return log->dropped == 0 || (job_log_may_write(log) && put_gap(log));
}

/* While the disk takes no more the event is lost at once. */
static void begin_event(struct job_log *log, const char *stream)
{
    log->event_lost = !job_log_prepare(log);
    log->in_event = true;
    log->event_start = log->written + log->used;
    if (log->event_lost) {
        log->next_line++;
        drop(log, 1);
        return;
    }
    if (!log->has_line && log->pending == 0) {
        newest(log)->first_offset = log->event_start;
        newest(log)->first_line = log->next_line;
        newest(log)->lost = log->lost;
    }
    put_text(log, "event: log\ndata: {\"timestamp\":\"");
    put_timestamp(log);
    put_text(log, "\",\"stream\":\"");
    put_text(log, stream);
    put_text(log, "\",\"data\":\"");
    log->next_line++;
    log->pending++;
}

static void end_event(struct job_log *log, bool continued)
{
    if (!log->event_lost) {
        make_room(log, FRAME_MAX);
    }
    if (!log->event_lost) {
        put_text(log, continued ? "\",\"continued\":true}" : "\"}");
        put_text(log, EVENT_ID_BEGIN);
        log->used += event_id_render(log->tag, log->event_start, log->next_line - 1,
                                     log->buffer + log->used); /* the buffer never cuts it */
        put_text(log, EVENT_END);
    }
    log->in_event = false;
    log->event_lost = false;
}

/* Escapes one piece into the event, or into a new one when this one is full. Returns what it took.
 */
static size_t put_piece(struct job_log *log, const char *stream, const char *piece, size_t length,
                        bool last)
{
    size_t need = JSON_ESCAPED_MAX(length);
    if (log->written + log->used - log->event_start + need > log->event_max) {
        end_event(log, true);
        begin_event(log, stream);
    }
    if (!log->event_lost) {
        make_room(log, need);
    }
    if (log->event_lost) {
        return length;
    }
    size_t consumed;
    log->used += json_escape(log->buffer + log->used, piece, length, last, &consumed);
    return consumed;
}

/* Copies bytes from `offset` of the line on. The count, or -1. */
static ssize_t line_copy(const struct line *line, uint64_t offset, char *data, size_t length)
{
    size_t copied = 0;
    if (offset < line->held_length) {
        uint64_t left = line->held_length - offset;
        size_t wanted = length < left ? length : (size_t)left;
        ssize_t count = spool_read(line->held, offset, data, wanted);
        if (count != (ssize_t)wanted) {
            return -1;
        }
        copied = wanted;
        offset += wanted;
    }
    size_t at = (size_t)(offset - line->held_length);
    size_t more = line->tail_length - at;
    if (copied < length && offset >= line->held_length) {
        more = more < length - copied ? more : length - copied;
        memcpy(data + copied, line->tail + at, more);
        copied += more;
    }
    return (ssize_t)copied;
}

static void put_pieces(struct job_log *log, const char *stream, const struct line *line)
{
    char piece[PIECE_MAX];
    uint64_t total = line->held_length + line->tail_length;
    for (uint64_t offset = 0; offset < total;) {
        ssize_t length = line_copy(line, offset, piece, sizeof(piece));
        if (length <= 0) {
            log_line("job log: an unfinished line could not be read: %m");
            return;
        }
        bool last = offset + (uint64_t)length == total;
        offset += put_piece(log, stream, piece, (size_t)length, last);
    }
}

/* ---- the log ---- */

int job_log_open(struct job_log *log, int directory, const char *id, uint64_t max_bytes)
{
    *log = (struct job_log){.directory = directory,
                            .max_bytes = max_bytes,
                            .segment_max = max_bytes / SEGMENTS_KEPT,
                            .event_max = max_bytes / 4,
                            .segment = -1,
                            .position_fd = -1};
    if (log->event_max > JOB_EVENT_MAX) {
        log->event_max = JOB_EVENT_MAX;
    }
    memcpy(log->tag, id, EVENT_TAG_LENGTH);
    log->buffer = malloc(BUFFER_SIZE);
    if (log->buffer != NULL) {
        log->position_fd = job_position_create(log->directory, &log->position);
    }
    /* The position file comes first: it is small, and the segment must not be there without it. */
    if (log->position_fd < 0 || open_segment(log) < 0) {
        close_fd(&log->position_fd);
        free(steal_pointer(log->buffer));
        return -1;
    }
    return 0;
}

void job_log_line(struct job_log *log, const char *stream, const struct line *line)
{
    begin_event(log, stream);
    if (log->event_lost) {
        /* not even read */
    } else if (line->held_length == 0 && line->tail_length <= PIECE_MAX) {
        (void)put_piece(log, stream, line->tail, line->tail_length, true);
    } else {
        put_pieces(log, stream, line);
    }
    end_event(log, line->continued);
}

void job_log_drop(struct job_log *log)
{
    log->next_line++;
    drop(log, 1);
}

void job_log_flush(struct job_log *log)
{
    (void)flush(log); /* what is dropped is counted */
}

void job_log_close(struct job_log *log)
{
    if (log->buffer == NULL) {
        return;
    }
    job_log_flush(log);
    if (log->dropped > 0) {
        (void)put_gap(log);
    }
    close_fd(&log->segment);
    close_fd(&log->position_fd);
    free(steal_pointer(log->buffer));
}

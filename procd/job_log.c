/*
 * Rendering, batching, rotating. Offsets are those of the whole log; `written` is where the disk
 * ends, the buffer comes after it, and `whole` is what a reader may have taken already, so that it
 * is never taken back.
 */
#include "procd/job_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "common/json_text.h"
#include "common/logger.h"
#include "procd/job_files.h"

#define PIECE_MAX      ((size_t)16384) /* raw bytes escaped at a time */
#define BUFFER_SIZE    ((size_t)262144)
#define FRAME_MAX      ((size_t)256) /* more than all of an event but its data */
#define SEGMENTS_KEPT  16            /* a log is that many full segments */
#define RETRY_AFTER_MS 100
#define EVENT_END      "\n\n"

_Static_assert(BUFFER_SIZE > JSON_ESCAPED_MAX(PIECE_MAX) + FRAME_MAX, "room for a piece");

static void segment_name(char name[64], uint64_t start)
{
    (void)snprintf(name, 64, JOB_SEGMENT_FORMAT, (unsigned long long)start);
}

/* ---- the disk ---- */

static int open_segment(struct job_log *log)
{
    char name[64];
    segment_name(name, log->written);
    int fd = openat(log->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -1;
    }
    close_fd(&log->segment);
    log->segment = fd;
    log->starts[log->segment_count++] = log->written;
    return 0;
}

/* Makes room for the segment that was just begun; the one before it stays, whatever its size. */
static void unlink_oldest(struct job_log *log)
{
    while (log->segment_count > 2 &&
           (log->segment_count > JOB_LOG_SEGMENTS_MAX ||
            log->written - log->starts[0] + log->segment_max > log->max_bytes)) {
        char name[64];
        segment_name(name, log->starts[0]);
        if (unlinkat(log->directory, name, 0) < 0 && errno != ENOENT) {
            log_line("job log: unlink: %m");
        }
        log->segment_count--;
        memmove(log->starts, log->starts + 1, log->segment_count * sizeof(log->starts[0]));
    }
}

/* Between events, with an empty buffer. When it fails the old segment grows on. */
static void rotate(struct job_log *log)
{
    if (log->written - log->starts[log->segment_count - 1] >= log->segment_max &&
        open_segment(log) == 0) {
        unlink_oldest(log);
    }
}

/* How many lines end in text[0..length): rendered lines, other events aside. */
static uint64_t count_lines(const char *text, size_t length)
{
    static const char mark[] = "\nevent: log\n";
    uint64_t count = 0;
    const char *end = text + length;
    const char *at = text;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1)) != NULL) {
        at += sizeof(mark) - 1;
        count++;
    }
    return count;
}

/* Where the last event in text[0..length) ends; 0 if none does. */
static size_t last_event_end(const char *text, size_t length)
{
    for (size_t end = length; end >= 2; end--) {
        if (text[end - 1] == '\n' && text[end - 2] == '\n') {
            return end;
        }
    }
    return 0;
}

/*
 * After a failed write that got `done` bytes of the buffer to the disk: keeps the whole events of
 * them, takes the torn one back, and forgets the rest.
 */
static void give_up_batch(struct job_log *log, size_t done)
{
    int error = errno;
    size_t kept = last_event_end(log->buffer, done);
    bool began_before = log->in_event && !log->event_lost && log->event_start < log->written;
    log->dropped += log->batch_lines - count_lines(log->buffer, kept) + began_before;
    log->batch_lines = 0;
    if (kept > 0) {
        log->whole = log->written + kept;
    }
    uint64_t start = log->starts[log->segment_count - 1];
    if (ftruncate(log->segment, (off_t)(log->whole - start)) < 0) {
        log_line("job log: ftruncate: %m");
    }
    log->written = log->whole;
    log->used = 0;
    log->event_lost = log->in_event;
    log->retry_at_ms = (uint64_t)clock_monotonic_ms() + RETRY_AFTER_MS;
    if (!log->told) {
        log->told = true;
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
            return false;
        }
        done += (size_t)count;
    }
    log->written += done;
    log->used = 0;
    log->batch_lines = 0;
    log->whole = log->in_event && !log->event_lost ? log->event_start : log->written;
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

static void put_number(struct job_log *log, uint64_t number, size_t width)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 || sizeof(digits) - at < width);
    put(log, digits + at, sizeof(digits) - at);
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
        struct tm utc;
        (void)gmtime_r(&second, &utc);
        (void)strftime(log->date, sizeof(log->date), "%Y-%m-%dT%H:%M:%S", &utc);
        log->second = second;
    }
    put(log, log->date, sizeof(log->date) - 1);
    put_text(log, ".");
    put_number(log, now % 1000000000U, 9);
    put_text(log, "Z");
}

static void make_room(struct job_log *log, size_t length)
{
    if (BUFFER_SIZE - log->used < length) {
        (void)flush(log); /* what is dropped is counted */
    }
}

/* Tells of dropped lines. False if that could not be written either. */
static bool put_gap(struct job_log *log)
{
    make_room(log, FRAME_MAX);
    uint64_t missed = log->dropped;
    put_text(log, "event: gap\ndata: {\"missed_lines\":");
    put_number(log, missed, 1);
    put_text(log, "}" EVENT_END);
    log->dropped = 0;
    if (!flush(log)) {
        log->dropped += missed;
        return false;
    }
    return true;
}

static void begin_event(struct job_log *log, const char *stream)
{
    make_room(log, FRAME_MAX);
    uint64_t segment_start = log->starts[log->segment_count - 1];
    if (log->written + log->used - segment_start >= log->segment_max) {
        (void)flush(log); /* what is dropped is counted */
        rotate(log);
    }
    log->event_start = log->written + log->used;
    log->in_event = true;
    log->event_lost = false;
    log->batch_lines++;
    put_text(log, "id: ");
    put_number(log, log->event_start, 1);
    put_text(log, "\nevent: log\ndata: {\"timestamp\":\"");
    put_timestamp(log);
    put_text(log, "\",\"stream\":\"");
    put_text(log, stream);
    put_text(log, "\",\"data\":\"");
}

static void end_event(struct job_log *log, bool continued)
{
    if (!log->event_lost) {
        make_room(log, FRAME_MAX);
    }
    if (!log->event_lost) {
        put_text(log, continued ? "\",\"continued\":true}" EVENT_END : "\"}" EVENT_END);
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

int job_log_open(struct job_log *log, int directory, uint64_t max_bytes)
{
    *log = (struct job_log){.directory = directory,
                            .max_bytes = max_bytes,
                            .segment_max = max_bytes / SEGMENTS_KEPT,
                            .event_max = max_bytes / 4,
                            .segment = -1};
    if (log->event_max > JOB_EVENT_MAX) {
        log->event_max = JOB_EVENT_MAX;
    }
    log->buffer = malloc(BUFFER_SIZE);
    if (log->buffer == NULL) {
        return -1;
    }
    if (open_segment(log) < 0) {
        free(steal_pointer(log->buffer));
        return -1;
    }
    return 0;
}

void job_log_line(struct job_log *log, const char *stream, const struct line *line, bool continued)
{
    if (log->dropped > 0 && ((uint64_t)clock_monotonic_ms() < log->retry_at_ms || !put_gap(log))) {
        log->dropped++;
        return;
    }
    begin_event(log, stream);
    if (line->held_length == 0 && line->tail_length <= PIECE_MAX) {
        (void)put_piece(log, stream, line->tail, line->tail_length, true);
    } else {
        put_pieces(log, stream, line);
    }
    end_event(log, continued);
}

void job_log_drop(struct job_log *log)
{
    log->dropped++;
}

void job_log_flush(struct job_log *log)
{
    (void)flush(log); /* what is dropped is counted */
}

void job_log_close(struct job_log *log)
{
    job_log_flush(log);
    if (log->dropped > 0) {
        (void)put_gap(log);
    }
    close_fd(&log->segment);
    free(steal_pointer(log->buffer));
}

/* ---- after a dead runner ---- */

/* The name of the newest segment; empty if there is none. */
static int newest_segment(int directory, char name[64])
{
    cleanup_fd int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_directory DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (entries == NULL) {
        return -1;
    }
    (void)steal_fd(&copy);
    name[0] = '\0';
    struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        size_t length = strlen(entry->d_name);
        /* Offsets have all their digits, so that the order of names is theirs. */
        if (strncmp(entry->d_name, JOB_SEGMENT_PREFIX, strlen(JOB_SEGMENT_PREFIX)) == 0 &&
            strcmp(entry->d_name, name) > 0 && length < 64) {
            memcpy(name, entry->d_name, length + 1);
        }
    }
    return 0;
}

int job_log_repair(int directory)
{
    char name[64];
    struct stat status;
    if (newest_segment(directory, name) < 0) {
        return -1;
    }
    if (name[0] == '\0') {
        return 0;
    }
    cleanup_fd int fd = io_open_regular(directory, name, O_RDWR);
    if (fd < 0 || fstat(fd, &status) < 0) {
        return -1;
    }
    if (status.st_size == 0) {
        return 0;
    }
    size_t size = (size_t)status.st_size;
    void *text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED) {
        return -1;
    }
    size_t whole = last_event_end(text, size);
    (void)munmap(text, size);
    return whole == size ? 0 : ftruncate(fd, (off_t)whole);
}

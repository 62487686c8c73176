/*
 * A segment is left when it is full, or when a write to it has failed: what comes after lost bytes
 * begins another one.
 */
#include "procd/log/byte_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "procd/log/job_position.h"
#include "procd/log/job_segment.h"

#define SEGMENTS_KEPT  16 /* a log is that many full segments */
#define RETRY_AFTER_MS 100

/* Where the log ends cannot be seen from its segments when the last bytes are lost. */
static void note_end(const struct byte_log *log)
{
    const struct job_position position = {.first_offset =
                                              log->segment_count == 0 ? log->next : log->starts[0],
                                          .next_offset = log->next};
    (void)job_position_update(log->position_fd, &position); /* the next one may succeed */
}

/* The descriptor of a new segment for the next byte, or -1 with errno. */
static int create_segment(const struct byte_log *log)
{
    char name[JOB_SEGMENT_NAME_SIZE];
    byte_segment_name(name, log->next);
    return openat(log->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
}

static void unlink_segment(const struct byte_log *log, uint64_t start)
{
    char name[JOB_SEGMENT_NAME_SIZE];
    byte_segment_name(name, start);
    if (unlinkat(log->directory, name, 0) < 0 && errno != ENOENT) {
        log_line("byte log: unlink: %m");
    }
}

/* Tells readers that the segment does not grow any more. */
static void leave_segment(struct byte_log *log)
{
    if (log->segment >= 0 && fchmod(log->segment, S_IRUSR | S_IRGRP | S_IROTH) < 0) {
        log_line("byte log: fchmod: %m");
    }
    close_fd(&log->segment);
}

/* Makes room for a full segment behind what there is. */
static void unlink_old_segments(struct byte_log *log)
{
    while (log->segment_count > 2 &&
           (log->segment_count > BYTE_LOG_SEGMENTS_MAX ||
            log->next - log->starts[0] + log->segment_max > log->max_bytes)) {
        unlink_segment(log, log->starts[0]);
        log->segment_count--;
        memmove(log->starts, log->starts + 1, log->segment_count * sizeof(log->starts[0]));
    }
}

/* Has a segment that takes the next byte. 0, or -1 with errno. */
static int have_segment(struct byte_log *log)
{
    bool is_full =
        log->segment >= 0 && log->next - log->starts[log->segment_count - 1] >= log->segment_max;
    if (log->segment >= 0 && !is_full) {
        return 0;
    }
    int fd = create_segment(log);
    if (fd < 0) {
        return is_full ? 0 : -1; /* the old one grows on */
    }
    leave_segment(log);
    log->segment = fd;
    log->starts[log->segment_count++] = log->next;
    unlink_old_segments(log);
    return 0;
}

/* A segment that has not got its first byte: what comes next has another offset. */
static void forget_empty_segment(struct byte_log *log)
{
    if (log->segment_count > 0 && log->starts[log->segment_count - 1] == log->next) {
        close_fd(&log->segment);
        unlink_segment(log, log->next);
        log->segment_count--;
    }
}

/* A write has failed, or could not be tried, with `left` bytes to go. */
static void lose(struct byte_log *log, size_t left)
{
    if (!log->reported) {
        log->reported = true;
        log_line("byte log: output is lost: %m");
    }
    forget_empty_segment(log);
    leave_segment(log);
    log->next += left;
    log->retry_at_ms = clock_monotonic_ms() + RETRY_AFTER_MS;
    note_end(log);
}

void byte_log_write(struct byte_log *log, const char *data, size_t length)
{
    if (log->retry_at_ms != 0 && clock_monotonic_ms() < log->retry_at_ms) {
        log->next += length;
        note_end(log);
        return;
    }
    log->retry_at_ms = 0;
    while (length > 0) {
        ssize_t count = have_segment(log) < 0 ? -1 : write(log->segment, data, length);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            lose(log, length);
            return;
        }
        log->next += (uint64_t)count;
        data += count;
        length -= (size_t)count;
    }
}

int byte_log_open(struct byte_log *log, int directory, uint64_t max_bytes)
{
    const struct job_position begin = {0};
    *log = (struct byte_log){.directory = directory,
                             .max_bytes = max_bytes,
                             .segment_max = max_bytes / SEGMENTS_KEPT,
                             .segment = -1};
    log->position_fd = job_position_create(directory, &begin);
    if (log->position_fd < 0 || have_segment(log) < 0) {
        close_fd(&log->position_fd);
        return -1;
    }
    return 0;
}

void byte_log_close(struct byte_log *log)
{
    if (log->position_fd >= 0) {
        note_end(log);
    }
    leave_segment(log);
    close_fd(&log->position_fd);
}

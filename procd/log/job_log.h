/*
 * The log of a background job, as its runner writes it (job_files.h describes the form).
 *
 * Lines are rendered into a buffer and reach the disk by job_log_flush, or when the buffer is full;
 * the position file follows. A log never fails: lines that cannot be written (a full disk) are
 * dropped, and as soon as there is room again an event says how many lines are missing:
 *
 *   event: gap\n
 *   data: {"missed_lines":12}\n
 *
 * Dropped lines have numbers as well. Timestamps of one log never repeat and never go back.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "common/line_reader.h"
#include "procd/log/event_id.h"
#include "procd/log/job_position.h"

/*
 * The data of one event takes at most this much of the log, or a quarter of the log if that is
 * less. A longer line becomes several events, all but the last with "continued":true.
 */
#define JOB_EVENT_MAX ((uint64_t)16 << 20)

#define JOB_LOG_SEGMENTS_MAX 32

struct job_log_segment {
    uint64_t start;        /* offset of its first byte */
    uint64_t first_offset; /* of its oldest line, and its number */
    uint64_t first_line;
    uint64_t lost; /* how many lines full disks had cost before that one */
};

struct job_log {
    int directory; /* borrowed */
    uint64_t max_bytes;
    uint64_t segment_max;
    uint64_t event_max;
    char tag[EVENT_TAG_LENGTH + 1]; /* of the events' ids */

    int segment;                                               /* -1 when none could be made */
    struct job_log_segment segments[JOB_LOG_SEGMENTS_MAX + 1]; /* on the disk, oldest first */
    size_t segment_count;
    bool has_line; /* the newest one holds a whole line */

    uint64_t written; /* where the next byte on disk goes */
    uint64_t whole;   /* up to where the disk holds whole events */
    char *buffer;
    size_t used;
    uint64_t event_start; /* of the event that is being rendered */
    bool in_event;
    bool event_lost; /* a part of it could not be written */

    uint64_t next_line; /* the number of the next event */
    uint64_t pending;   /* lines begun that are not whole on the disk */
    uint64_t lost;      /* all lines that full disks have cost */
    uint64_t dropped;   /* those that are not reported yet */
    uint64_t retry_at_ms;
    bool reported; /* the operator's log has it */

    int position_fd;
    struct job_position position; /* as it is in the file */

    uint64_t last_ns;
    time_t second; /* what `date` says */
    char date[20];
};

/* Starts the log of the job `id` with its first segment. 0, or -1 with errno. */
int job_log_open(struct job_log *log, int directory, const char *id, uint64_t max_bytes);

/* Appends a line of `stream`, "stdout" or "stderr". */
void job_log_line(struct job_log *log, const char *stream, const struct line *line);

/* Counts a line that was lost before it came here. */
void job_log_drop(struct job_log *log);

void job_log_flush(struct job_log *log);

/* Flushes, reports what was dropped, releases. Fine on a log that was not opened. */
void job_log_close(struct job_log *log);

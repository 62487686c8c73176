/*
 * The byte log of a job with a terminal, as its runner writes it (job_files.h describes the form).
 *
 * Bytes reach the disk at once. A log never fails: bytes that cannot be written (a full disk) are
 * lost, and counted, so that the next segment begins at the offset of what comes after them.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BYTE_LOG_SEGMENTS_MAX 32

struct byte_log {
    int directory; /* borrowed */
    uint64_t max_bytes;
    uint64_t segment_max;
    int segment;                                /* the newest; -1: the next byte begins another */
    uint64_t starts[BYTE_LOG_SEGMENTS_MAX + 1]; /* of the segments on the disk, oldest first */
    size_t segment_count;
    uint64_t next; /* the offset of the next byte, lost ones counted */
    int position_fd;
    int64_t retry_at_ms; /* after a failed write the disk gets a pause */
    bool reported;       /* the operator's log has it */
};

#define BYTE_LOG_NONE                                                                              \
    {                                                                                              \
        .segment = -1, .position_fd = -1                                                           \
    }

/* Starts a log with its first segment. 0, or -1 with errno. */
int byte_log_open(struct byte_log *log, int directory, uint64_t max_bytes);

/* Appends bytes. */
void byte_log_write(struct byte_log *log, const char *data, size_t length);

/* Writes down where the log ends, and releases. Fine on a log that was not opened. */
void byte_log_close(struct byte_log *log);

/*
 * A segment that may not be written to any more, or has no name any more, is followed by another
 * one, or by nothing ever. So a reader at its end need not list the directory each time.
 */
#include "procd/log/byte_cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/io.h"
#include "procd/log/job_files.h"
#include "procd/log/job_position.h"
#include "procd/log/job_segment.h"

#define NONE     JOB_SEGMENT_NONE
#define ATTEMPTS 100 /* segments may vanish between being listed and being opened */

void byte_cursor_open(struct byte_cursor *cursor, int directory, uint64_t offset)
{
    *cursor = (struct byte_cursor){.directory = directory, .segment = -1, .offset = offset};
}

void byte_cursor_close(struct byte_cursor *cursor)
{
    close_fd(&cursor->segment);
}

/* Whether the writer has left the segment: 1 or 0; -1 with errno. */
static int is_left(const struct byte_cursor *cursor)
{
    struct stat status;
    if (fstat(cursor->segment, &status) < 0) {
        return -1;
    }
    return status.st_nlink == 0 || (status.st_mode & S_IWUSR) == 0;
}

/* Opens the segment at `start`, if there is something in it at the cursor or behind it. 1; 0 when
 * there is not; -1 with errno, ENOENT when it has gone. */
static int enter_byte_segment(struct byte_cursor *cursor, uint64_t start, uint64_t *gap)
{
    struct stat status;
    cleanup_fd int segment = byte_segment_open(cursor->directory, start, O_RDONLY);
    if (segment < 0 || fstat(segment, &status) < 0) {
        return -1;
    }
    if (start <= cursor->offset && start + (uint64_t)status.st_size <= cursor->offset &&
        (status.st_mode & S_IWUSR) == 0) {
        return 0;
    }
    *gap += start > cursor->offset ? start - cursor->offset : 0;
    cursor->offset = start > cursor->offset ? start : cursor->offset;
    cursor->start = start;
    close_fd(&cursor->segment);
    cursor->segment = steal_fd(&segment);
    return 1;
}

/* On to the segment that has the byte at the cursor, or else the first one behind it. 1, 0 when
 * there is none yet, or -1 with errno. */
static int leave_byte_segment(struct byte_cursor *cursor, uint64_t *gap)
{
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint64_t before;
        uint64_t after;
        if (byte_segment_find(cursor->directory, cursor->offset, &before, &after) < 0) {
            return -1;
        }
        bool is_own = cursor->segment >= 0 && before == cursor->start;
        int entered = before == NONE || is_own ? 0 : enter_byte_segment(cursor, before, gap);
        if (entered == 0 && after != NONE) {
            entered = enter_byte_segment(cursor, after, gap);
        }
        if (entered >= 0 || errno != ENOENT) {
            return entered;
        }
    }
    return -1;
}

ssize_t byte_cursor_read(struct byte_cursor *cursor, void *data, size_t size, uint64_t *gap)
{
    *gap = 0;
    for (bool was_left = false;;) {
        if (cursor->segment >= 0) {
            off_t at = (off_t)(cursor->offset - cursor->start);
            ssize_t count = io_read_at(cursor->segment, data, size, at);
            if (count != 0) {
                cursor->offset += count > 0 ? (uint64_t)count : 0;
                return count;
            }
            if (!was_left) { /* it may have grown just before it was left: once more */
                int left = is_left(cursor);
                if (left <= 0) {
                    return left;
                }
                was_left = true;
                continue;
            }
        }
        int moved = leave_byte_segment(cursor, gap);
        if (moved <= 0) {
            return moved;
        }
        was_left = false;
    }
}

/* The offset behind the last byte of the segment at `start`. 0, or -1 with errno. */
static int find_segment_end(int directory, uint64_t start, uint64_t *end)
{
    struct stat status;
    cleanup_fd int segment = byte_segment_open(directory, start, O_RDONLY);
    if (segment < 0 || fstat(segment, &status) < 0) {
        return -1;
    }
    *end = start + (uint64_t)status.st_size;
    return 0;
}

/* 0, or -1 with errno: ENOENT when a segment has gone meanwhile. */
static int find_bounds(int directory, uint64_t *first, uint64_t *next)
{
    struct job_position position;
    uint64_t oldest;
    uint64_t newest;
    uint64_t after;
    if (job_position_read(directory, &position) < 0 ||
        byte_segment_find(directory, 0, &oldest, &after) < 0) {
        return -1;
    }
    *next = position.next_offset;
    *first = oldest != NONE ? oldest : after != NONE ? after : *next;
    if (byte_segment_find(directory, NONE - 1, &newest, &after) < 0) {
        return -1;
    }
    uint64_t end = 0;
    if (newest != NONE && find_segment_end(directory, newest, &end) < 0) {
        return -1;
    }
    *next = end > *next ? end : *next;
    return 0;
}

int byte_log_bounds(int directory, uint64_t *first, uint64_t *next)
{
    for (int attempt = 1; find_bounds(directory, first, next) < 0; attempt++) {
        if (errno != ENOENT || attempt == ATTEMPTS || !directory_has(directory, JOB_SIZE_FILE)) {
            return -1;
        }
    }
    return 0;
}

/*
 * Walking the segments of a log, from event to event.
 */
#include "fcgi-app/log_cursor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "procd/job_files.h"

#define BLOCK         ((size_t)16384)
#define TAIL_BLOCK    ((size_t)1024)
#define NAME_SIZE     32
#define NONE          UINT64_MAX
#define JUMP_ATTEMPTS 100 /* segments may vanish between being listed and being opened */

void log_cursor_init(struct log_cursor *cursor, int directory_fd)
{
    *cursor = (struct log_cursor){.directory = directory_fd, .segment = -1};
}

void log_cursor_clear(struct log_cursor *cursor)
{
    close_fd(&cursor->segment);
}

static int open_segment(const struct log_cursor *cursor, uint64_t start)
{
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof(name), JOB_SEGMENT_FORMAT, (unsigned long long)start);
    return io_open_regular(cursor->directory, name, O_RDONLY);
}

/* Puts the cursor at `offset` (the beginning of an event) in a segment; takes its descriptor. */
static void enter(struct log_cursor *cursor, int segment, uint64_t start, uint64_t offset)
{
    close_fd(&cursor->segment);
    cursor->segment = segment;
    cursor->start = start;
    cursor->offset = cursor->whole = cursor->searched = offset;
}

/* ---- which segments there are ---- */

/* The offset that a segment's name tells, or NONE. */
static uint64_t start_of(const char *name)
{
    const size_t length = sizeof(JOB_SEGMENT_PREFIX) - 1;
    if (strncmp(name, JOB_SEGMENT_PREFIX, length) != 0) {
        return NONE;
    }
    char *end;
    errno = 0;
    unsigned long long start = strtoull(name + length, &end, 10);
    return errno != 0 || *end != '\0' || end == name + length ? NONE : start;
}

/*
 * Looks through the directory: *before is the last segment that begins at or before `offset`,
 * *after the first one behind it; NONE if there is none. 0, or -1 with errno.
 */
static int find_segments(const struct log_cursor *cursor, uint64_t offset, uint64_t *before,
                         uint64_t *after)
{
    *before = *after = NONE;
    cleanup_fd int fd = openat(cursor->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cleanup_directory DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        return errno == ENOENT ? 0 : -1; /* the directory itself was removed */
    }
    (void)steal_fd(&fd);
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) { /* NOLINT(concurrency-mt-unsafe): own DIR */
        uint64_t start = start_of(entry->d_name);
        if (start == NONE) {
            continue;
        }
        if (start <= offset) {
            *before = *before == NONE || start > *before ? start : *before;
        } else {
            *after = start < *after ? start : *after;
        }
    }
    return 0;
}

/* ---- which events are whole ---- */

static ssize_t read_at(const struct log_cursor *cursor, void *data, size_t size, uint64_t offset)
{
    for (;;) {
        ssize_t count = pread(cursor->segment, data, size, (off_t)(offset - cursor->start));
        if (count >= 0 || errno != EINTR) {
            return count;
        }
    }
}

/*
 * Goes backwards through [from, to) of the segment and calls it found at the `skip`th event end but
 * one: *end is the offset after it. NONE when there are fewer; *skip tells how many are missing.
 * Event ends are the only two newlines in a row.
 */
static int find_end_backwards(const struct log_cursor *cursor, uint64_t from, uint64_t to,
                              size_t block_size, uint64_t *skip, uint64_t *end)
{
    cleanup_free char *block = malloc(block_size);
    uint64_t newline = NONE; /* the one found last */
    *end = NONE;
    if (block == NULL) {
        return -1;
    }
    while (to > from) {
        size_t size = to - from < block_size ? (size_t)(to - from) : block_size;
        uint64_t base = to - size;
        ssize_t count = read_at(cursor, block, size, base);
        if (count != (ssize_t)size) {
            errno = count < 0 ? errno : EIO;
            return -1;
        }
        const char *at;
        for (size_t left = size; (at = memrchr(block, '\n', left)) != NULL;
             left = (size_t)(at - block)) {
            uint64_t position = base + (uint64_t)(at - block);
            bool is_end = newline == position + 1;
            newline = position;
            if (is_end && (*skip)-- == 0) {
                *end = position + 2;
                return 0;
            }
        }
        to = base;
    }
    return 0;
}

/* Moves `whole` on to the last event end before the end of the segment, `size`. 0 or -1. */
static int find_whole(struct log_cursor *cursor, uint64_t size)
{
    uint64_t skip = 0;
    uint64_t end;
    if (size <= cursor->searched) {
        return 0;
    }
    uint64_t from = cursor->searched > cursor->whole ? cursor->searched - 1 : cursor->whole;
    if (find_end_backwards(cursor, from, size, TAIL_BLOCK, &skip, &end) < 0) {
        return -1;
    }
    cursor->whole = end == NONE ? cursor->whole : end;
    cursor->searched = size;
    return 0;
}

/* ---- seeking ---- */

/*
 * Counts the events of the current segment from its end, down to *events. 0 with *begin where they
 * begin and *events less those that are there, or -1.
 */
static int count_back(struct log_cursor *cursor, uint64_t *events, uint64_t *begin)
{
    struct stat status;
    uint64_t end;
    if (fstat(cursor->segment, &status) < 0 ||
        find_end_backwards(cursor, cursor->start, cursor->start + (uint64_t)status.st_size, BLOCK,
                           events, &end) < 0) {
        return -1;
    }
    *begin = end == NONE ? cursor->start : end;
    *events = end == NONE ? *events : 0;
    return 0;
}

int log_cursor_seek_newest(struct log_cursor *cursor, uint64_t events)
{
    uint64_t behind = NONE; /* only segments before this one are left to look at */
    while (events > 0) {
        uint64_t start;
        uint64_t begin;
        uint64_t later;
        if (behind == 0) {
            break;
        }
        if (find_segments(cursor, behind - 1, &start, &later) < 0) {
            return -1;
        }
        if (start == NONE) {
            break;
        }
        behind = start;
        int segment = open_segment(cursor, start);
        if (segment < 0 && errno == ENOENT) {
            continue; /* removed just now, and so are all before it */
        }
        if (segment < 0) {
            return -1;
        }
        enter(cursor, segment, start, start);
        if (count_back(cursor, &events, &begin) < 0) {
            return -1;
        }
        cursor->offset = cursor->whole = cursor->searched = begin;
    }
    return 0;
}

/* Whether an event with this offset begins at the cursor. */
static bool is_event(const struct log_cursor *cursor)
{
    char expected[NAME_SIZE];
    char found[NAME_SIZE];
    int length =
        snprintf(expected, sizeof(expected), "id: %llu\n", (unsigned long long)cursor->offset);
    return read_at(cursor, found, (size_t)length, cursor->offset) == length &&
           memcmp(expected, found, (size_t)length) == 0;
}

/* Over the event at the cursor. 0, 1 when it does not end, or -1. */
static int skip_event(struct log_cursor *cursor)
{
    char block[TAIL_BLOCK];
    uint64_t at = cursor->offset;
    for (;;) {
        ssize_t count = read_at(cursor, block, sizeof(block), at);
        if (count < 2) {
            return count < 0 ? -1 : 1;
        }
        const char *end = memmem(block, (size_t)count, "\n\n", 2);
        if (end != NULL) {
            at += (uint64_t)(end - block) + 2;
            cursor->offset = cursor->whole = cursor->searched = at;
            return 0;
        }
        at += (uint64_t)count - 1;
    }
}

int log_cursor_seek_after(struct log_cursor *cursor, uint64_t event)
{
    uint64_t before;
    uint64_t after;
    if (find_segments(cursor, event, &before, &after) < 0) {
        return -1;
    }
    int segment = before == NONE ? -1 : open_segment(cursor, before);
    if (segment < 0 && before != NONE && errno != ENOENT) {
        return -1;
    }
    if (segment < 0) {
        if (before == NONE && after == NONE) {
            return 1;
        }
        enter(cursor, -1, event, event); /* removed: the next read jumps to what there is */
        return 0;
    }
    enter(cursor, segment, before, event);
    return is_event(cursor) ? skip_event(cursor) : 1;
}

/* ---- reading ---- */

/* To the oldest segment there is behind the cursor. 1, 0 when there is none, or -1. */
static int jump(struct log_cursor *cursor, uint64_t *missed)
{
    for (int attempt = 0; attempt < JUMP_ATTEMPTS; attempt++) {
        uint64_t before;
        uint64_t after;
        if (find_segments(cursor, cursor->offset, &before, &after) < 0) {
            return -1;
        }
        uint64_t start = before == cursor->offset ? before : after;
        if (start == NONE || (start == cursor->start && cursor->segment >= 0)) {
            return 0;
        }
        int segment = open_segment(cursor, start);
        if (segment >= 0) {
            *missed += start - cursor->offset;
            enter(cursor, segment, start, start);
            return 1;
        }
        if (errno != ENOENT) {
            return -1;
        }
    }
    return -1;
}

/*
 * The current segment has nothing more: on to the next. 1, 0 when there is none yet, or -1. The
 * oldest segment is always the first to be removed, so only when ours is can the next have been.
 */
static int next_segment(struct log_cursor *cursor, bool removed, uint64_t *missed)
{
    if (cursor->segment < 0 || removed) {
        return jump(cursor, missed);
    }
    if (cursor->offset == cursor->start) {
        return 0;
    }
    int segment = open_segment(cursor, cursor->offset);
    if (segment < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    enter(cursor, segment, cursor->offset, cursor->offset);
    return 1;
}

static ssize_t hand_out(struct log_cursor *cursor, void *data, size_t size)
{
    uint64_t left = cursor->whole - cursor->offset;
    ssize_t count = read_at(cursor, data, size < left ? size : (size_t)left, cursor->offset);
    if (count == 0) {
        errno = EIO; /* truncated below what was there: not by us */
        return -1;
    }
    cursor->offset += count > 0 ? (uint64_t)count : 0;
    return count;
}

ssize_t log_cursor_read(struct log_cursor *cursor, void *data, size_t size, uint64_t *missed)
{
    *missed = 0;
    for (;;) {
        struct stat status = {.st_nlink = 1};
        if (cursor->offset < cursor->whole) {
            return hand_out(cursor, data, size);
        }
        if (cursor->segment >= 0) {
            if (fstat(cursor->segment, &status) < 0 ||
                find_whole(cursor, cursor->start + (uint64_t)status.st_size) < 0) {
                return -1;
            }
            if (cursor->whole > cursor->offset) {
                continue;
            }
        }
        int moved = next_segment(cursor, status.st_nlink == 0, missed);
        if (moved <= 0) {
            return moved;
        }
    }
}

void log_cursor_unread(struct log_cursor *cursor, size_t length)
{
    cursor->offset -= length;
}

/*
 * Walking the segments of a log, from event to event.
 */
#include "fcgi-app/processes/log_cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "procd/log/job_segment.h"

#define BLOCK         ((size_t)16384)
#define TAIL_BLOCK    ((size_t)1024)
#define NONE          JOB_SEGMENT_NONE
#define JUMP_ATTEMPTS 100 /* segments may vanish between being listed and being opened */

void log_cursor_init(struct log_cursor *cursor, int directory_fd)
{
    *cursor = (struct log_cursor){.directory = directory_fd, .segment = -1, .seen = NONE};
}

void log_cursor_clear(struct log_cursor *cursor)
{
    close_fd(&cursor->segment);
}

/* Puts the cursor at `offset` (the beginning of an event) in a segment; takes its descriptor. */
static void enter(struct log_cursor *cursor, int segment, uint64_t start, uint64_t offset)
{
    close_fd(&cursor->segment);
    cursor->segment = segment;
    cursor->start = start;
    cursor->offset = cursor->whole = cursor->searched = offset;
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

/* ---- events backwards ---- */

/* Goes backwards through [from, base + left) of the segment, a block at a time. */
struct scan {
    const struct log_cursor *cursor;
    uint64_t from;
    uint64_t newline; /* the one found last */
    uint64_t base;    /* of the block */
    size_t filled;    /* of the block */
    size_t left;      /* of the block, not searched yet */
    size_t block_size;
    char *block;
};

static struct scan scan_begin(const struct log_cursor *cursor, uint64_t from, uint64_t to,
                              char *block, size_t block_size)
{
    return (struct scan){.cursor = cursor,
                         .from = from,
                         .newline = NONE,
                         .base = to,
                         .block = block,
                         .block_size = block_size};
}

static int scan_fill(struct scan *scan)
{
    uint64_t left = scan->base - scan->from;
    size_t size = left < scan->block_size ? (size_t)left : scan->block_size;
    scan->base -= size;
    ssize_t count = read_at(scan->cursor, scan->block, size, scan->base);
    if (count != (ssize_t)size) {
        errno = count < 0 ? errno : EIO;
        return -1;
    }
    scan->filled = scan->left = size;
    return 0;
}

/* The next event end, the offset behind the only two newlines in a row. 1, 0 if there is no more,
 * or -1. */
static int scan_end(struct scan *scan, uint64_t *end)
{
    for (;;) {
        const char *at;
        while ((at = memrchr(scan->block, '\n', scan->left)) != NULL) {
            scan->left = (size_t)(at - scan->block);
            uint64_t position = scan->base + scan->left;
            bool is_end = scan->newline == position + 1;
            scan->newline = position;
            if (is_end) {
                *end = position + 2;
                return 1;
            }
        }
        scan->left = 0;
        if (scan->base == scan->from) {
            return 0;
        }
        if (scan_fill(scan) < 0) {
            return -1;
        }
    }
}

/* The beginning of the event that ends where the last end was found. 1, 0 at `from`, or -1. */
static int scan_beginning(struct scan *scan, uint64_t *begin)
{
    int found = scan_end(scan, begin);
    if (found == 0) {
        *begin = scan->from;
    }
    return found;
}

/* Whether the event that begins at `offset` is a line: 1 or 0 (a gap), or -1. */
static int scan_is_line(const struct scan *scan, uint64_t offset)
{
    char first[EVENT_KIND_SIZE];
    if (offset - scan->base + sizeof(first) <= scan->filled) {
        return event_is_line(scan->block + (offset - scan->base), sizeof(first));
    }
    ssize_t count = read_at(scan->cursor, first, sizeof(first), offset);
    return count < 0 ? -1 : event_is_line(first, (size_t)count);
}

/* Moves `whole` on to the last event end before the end of the segment, `size`. 0 or -1. */
static int find_whole(struct log_cursor *cursor, uint64_t size)
{
    char block[TAIL_BLOCK];
    uint64_t end;
    if (size < cursor->searched) {
        cursor->searched = cursor->whole; /* a torn event was taken back: a full disk */
    }
    if (size <= cursor->searched) {
        return 0;
    }
    uint64_t from = cursor->searched > cursor->whole ? cursor->searched - 1 : cursor->whole;
    struct scan scan = scan_begin(cursor, from, size, block, sizeof(block));
    int found = scan_end(&scan, &end);
    if (found < 0) {
        return -1;
    }
    cursor->whole = found == 1 ? end : cursor->whole;
    cursor->searched = size;
    return 0;
}

/* ---- events forwards ---- */

/* The end of the event that begins at `begin`. 1; 0 when it is not whole; -1 with errno. */
static int find_event_end(const struct log_cursor *cursor, uint64_t begin, uint64_t *end)
{
    char block[BLOCK];
    ssize_t count;
    for (uint64_t at = begin; (count = read_at(cursor, block, sizeof(block), at)) >= 2;
         at += (uint64_t)count - 1) {
        const char *found = memmem(block, (size_t)count, "\n\n", 2);
        if (found != NULL) {
            *end = at + (uint64_t)(found - block) + 2;
            return 1;
        }
    }
    return count < 0 ? -1 : 0;
}

/* The event in [begin, end), by its edges. 0, or -1 when it cannot be read; its kind is
 * EVENT_UNKNOWN then. */
static int read_event(const struct log_cursor *cursor, uint64_t begin, uint64_t end,
                      struct event *event)
{
    char text[2 * EVENT_EDGE];
    uint64_t length = end - begin;
    size_t head = length <= sizeof(text) ? (size_t)length : EVENT_EDGE;
    size_t tail = length <= sizeof(text) ? 0 : EVENT_EDGE;
    ssize_t of_head = read_at(cursor, text, head, begin);
    ssize_t of_tail = read_at(cursor, text + head, tail, end - tail);
    bool is_whole = of_head == (ssize_t)head && of_tail == (ssize_t)tail;
    *event = event_parse(text, is_whole ? head + tail : 0);
    return of_head < 0 || of_tail < 0 ? -1 : 0;
}

/* ---- seeking ---- */

/* Where the segment ends now, or NONE with errno. */
static uint64_t segment_end(const struct log_cursor *cursor)
{
    struct stat status;
    return fstat(cursor->segment, &status) < 0 ? NONE : cursor->start + (uint64_t)status.st_size;
}

/*
 * Counts the lines of the current segment from its last whole event, down to *lines. 0 with *begin
 * where they begin and *lines less those that are there, or -1.
 */
static int count_back(const struct log_cursor *cursor, uint64_t *lines, uint64_t *begin)
{
    char block[BLOCK];
    uint64_t end = segment_end(cursor);
    if (end == NONE) {
        return -1;
    }
    struct scan scan = scan_begin(cursor, cursor->start, end, block, sizeof(block));
    int more = scan_beginning(&scan, begin);
    while (more == 1 && *lines > 0) {
        more = scan_beginning(&scan, begin);
        int is_line = more < 0 ? -1 : scan_is_line(&scan, *begin);
        if (is_line < 0) {
            return -1;
        }
        *lines -= (uint64_t)is_line;
    }
    return more < 0 ? -1 : 0;
}

int log_cursor_seek_newest(struct log_cursor *cursor, uint64_t lines)
{
    uint64_t behind = NONE; /* only segments before this one are left to look at */
    do {
        uint64_t start;
        uint64_t begin;
        uint64_t later;
        if (job_segment_find(cursor->directory, behind - 1, &start, &later) < 0) {
            return -1;
        }
        if (start == NONE) {
            break;
        }
        behind = start;
        int segment = job_segment_open(cursor->directory, start, O_RDONLY);
        if (segment < 0 && errno == ENOENT) {
            continue; /* removed just now, and so are all before it */
        }
        if (segment < 0) {
            return -1;
        }
        enter(cursor, segment, start, start);
        if (count_back(cursor, &lines, &begin) < 0) {
            return -1;
        }
        cursor->offset = cursor->whole = cursor->searched = begin;
    } while (lines > 0 && behind > 0);
    return 0;
}

/* Behind the event at the cursor, if it is there and has this id. */
static enum log_seek seek_in_segment(struct log_cursor *cursor, const struct event_id *id)
{
    char block[TAIL_BLOCK];
    uint64_t end = segment_end(cursor);
    if (end == NONE) {
        return LOG_SEEK_FAILED;
    }
    struct scan scan = scan_begin(cursor, cursor->start, end, block, sizeof(block));
    if (scan_beginning(&scan, &end) < 0) { /* of what is not whole */
        return LOG_SEEK_FAILED;
    }
    if (id->offset >= end) {
        return LOG_SEEK_AHEAD;
    }
    struct event found = {.kind = EVENT_UNKNOWN};
    int is_whole = find_event_end(cursor, id->offset, &end);
    if (is_whole < 0 || (is_whole == 1 && read_event(cursor, id->offset, end, &found) < 0)) {
        return LOG_SEEK_FAILED;
    }
    if (found.kind != EVENT_LINE || strcmp(found.id.text, id->text) != 0) {
        return LOG_SEEK_UNKNOWN;
    }
    cursor->offset = cursor->whole = cursor->searched = end;
    return LOG_SEEK_DONE;
}

/* The first line from the cursor on; *told is how many lines gap events before it report. */
static struct event first_line(const struct log_cursor *cursor, uint64_t *told)
{
    uint64_t end;
    struct event event = {.kind = EVENT_UNKNOWN};
    *told = 0;
    for (uint64_t at = cursor->offset; find_event_end(cursor, at, &end) == 1; at = end) {
        if (read_event(cursor, at, end, &event) < 0 || event.kind != EVENT_GAP) {
            return event;
        }
        *told += event.missed;
    }
    return (struct event){.kind = EVENT_UNKNOWN};
}

/*
 * The event was in a segment that is not there any more; the one at `after` is the oldest now. An
 * id that does not come before the ids in there has never been.
 */
static enum log_seek seek_removed(struct log_cursor *cursor, const struct event_id *id,
                                  uint64_t after)
{
    uint64_t told;
    int segment = job_segment_open(cursor->directory, after, O_RDONLY);
    if (segment < 0) {
        return LOG_SEEK_FAILED;
    }
    enter(cursor, segment, after, after);
    struct event oldest = first_line(cursor, &told);
    if (oldest.kind == EVENT_LINE && (oldest.id.numbered != id->numbered ||
                                      (id->numbered && id->line >= oldest.id.line - told))) {
        return LOG_SEEK_UNKNOWN;
    }
    enter(cursor, -1, id->offset, id->offset); /* the next read jumps to what there is */
    cursor->seen = id->numbered ? id->line : NONE;
    return LOG_SEEK_DONE;
}

enum log_seek log_cursor_seek_after(struct log_cursor *cursor, const struct event_id *id)
{
    for (int attempt = 0; attempt < JUMP_ATTEMPTS; attempt++) {
        uint64_t before;
        uint64_t after;
        if (job_segment_find(cursor->directory, id->offset, &before, &after) < 0) {
            return LOG_SEEK_FAILED;
        }
        if (before == NONE && after == NONE) {
            return LOG_SEEK_AHEAD;
        }
        enum log_seek found = LOG_SEEK_FAILED;
        int segment = -1;
        if (before == NONE) {
            found = seek_removed(cursor, id, after);
        } else if ((segment = job_segment_open(cursor->directory, before, O_RDONLY)) >= 0) {
            enter(cursor, segment, before, id->offset);
            found = seek_in_segment(cursor, id);
        }
        if (found != LOG_SEEK_FAILED || errno != ENOENT) {
            return found;
        }
    }
    return LOG_SEEK_FAILED;
}

/* ---- reading ---- */

/*
 * The number that the next line would have had, known from the last line before the cursor and what
 * gap events after it tell of; or NONE. The segment may be removed, but it is open.
 */
static uint64_t expected_line(const struct log_cursor *cursor)
{
    char block[BLOCK];
    uint64_t begin;
    uint64_t told = 0;
    if (cursor->segment < 0) {
        return cursor->seen == NONE ? NONE : cursor->seen + 1;
    }
    struct scan scan = scan_begin(cursor, cursor->start, cursor->offset, block, sizeof(block));
    int more = scan_beginning(&scan, &begin);
    while (more == 1) {
        uint64_t end = begin;
        more = scan_beginning(&scan, &begin);
        struct event event;
        if (more < 0 || read_event(cursor, begin, end, &event) < 0 || event.kind == EVENT_UNKNOWN) {
            return NONE;
        }
        if (event.kind == EVENT_LINE) {
            return event.id.numbered ? event.id.line + 1 + told : NONE;
        }
        told += event.missed;
    }
    return NONE;
}

/* To the oldest segment there is behind the cursor. 1, 0 when there is none, or -1. */
static int jump(struct log_cursor *cursor, struct log_gap *gap)
{
    for (int attempt = 0; attempt < JUMP_ATTEMPTS; attempt++) {
        uint64_t before;
        uint64_t after;
        if (job_segment_find(cursor->directory, cursor->offset, &before, &after) < 0) {
            return -1;
        }
        uint64_t start = before == cursor->offset ? before : after;
        if (start == NONE || (start == cursor->start && cursor->segment >= 0)) {
            return 0;
        }
        int segment = job_segment_open(cursor->directory, start, O_RDONLY);
        if (segment >= 0) {
            if (start > cursor->offset && gap->bytes == 0) {
                gap->lines = expected_line(cursor);
            }
            gap->bytes += start - cursor->offset;
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
static int next_segment(struct log_cursor *cursor, bool removed, struct log_gap *gap)
{
    if (cursor->segment < 0 || removed) {
        return jump(cursor, gap);
    }
    if (cursor->offset == cursor->start) {
        return 0;
    }
    int segment = job_segment_open(cursor->directory, cursor->offset, O_RDONLY);
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

/*
 * Makes of the number that was expected, in `lines`, how many are missing before the cursor. What
 * gap events tell of that come next is theirs to tell.
 */
static void measure_gap(const struct log_cursor *cursor, struct log_gap *gap)
{
    uint64_t expected = gap->lines;
    uint64_t told;
    struct event next = first_line(cursor, &told);
    gap->numbered = next.kind == EVENT_LINE && next.id.numbered && expected != NONE &&
                    told <= next.id.line && expected <= next.id.line - told;
    gap->lines = gap->numbered ? next.id.line - told - expected : 0;
    gap->next_id[0] = '\0';
    if (next.kind == EVENT_LINE) {
        memcpy(gap->next_id, next.id.text, sizeof(gap->next_id));
    }
    if (gap->numbered && gap->lines == 0) {
        gap->bytes = 0; /* only the line that was seen last is gone */
    }
}

/* On to a segment in which there is something to hand out. 1, 0 if there is none, or -1. */
static int move_on(struct log_cursor *cursor, struct log_gap *gap)
{
    while (cursor->offset == cursor->whole) {
        struct stat status = {.st_nlink = 1};
        if (cursor->segment >= 0) {
            if (fstat(cursor->segment, &status) < 0 ||
                find_whole(cursor, cursor->start + (uint64_t)status.st_size) < 0) {
                return -1;
            }
            if (cursor->whole > cursor->offset) {
                break;
            }
        }
        int moved = next_segment(cursor, status.st_nlink == 0, gap);
        if (moved <= 0) {
            return moved;
        }
    }
    return 1;
}

ssize_t log_cursor_read(struct log_cursor *cursor, void *data, size_t size, struct log_gap *gap)
{
    *gap = (struct log_gap){0};
    int moved = move_on(cursor, gap);
    if (moved >= 0 && gap->bytes > 0) {
        measure_gap(cursor, gap);
    }
    return moved <= 0 ? moved : hand_out(cursor, data, size);
}

void log_cursor_unread(struct log_cursor *cursor, size_t length)
{
    cursor->offset -= length;
}

/*
 * Theory of operation: an event ends with the only empty line in it, so events are found by looking
 * for two newlines in a row, forwards or backwards, and the directory's listing finds the segments.
 * Retention may unlink a segment at any moment. One that the cursor has open can still be read; the
 * bytes between its end and the oldest segment that is left are a gap.
 */
#include "fcgi-app/processes/log_cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "procd/log/job_segment.h"

#define BLOCK         ((size_t)16384)
#define TAIL_BLOCK    ((size_t)1024)
#define NONE          JOB_SEGMENT_NONE
#define JUMP_ATTEMPTS 100 /* segments may vanish between being listed and being opened */

void log_cursor_init(struct log_cursor *cursor, int directory_fd)
{
    *cursor = (struct log_cursor){.directory = directory_fd, .segment = -1, .expected = NONE};
}

void log_cursor_clear(struct log_cursor *cursor)
{
    close_fd(&cursor->segment);
}

/* To the beginning of an event in the current segment. */
static void move_to(struct log_cursor *cursor, uint64_t offset)
{
    cursor->offset = cursor->whole = cursor->searched = offset;
}

/* The same in another segment (-1: none), of which it takes the descriptor. */
static void enter_segment(struct log_cursor *cursor, int segment, uint64_t start, uint64_t offset)
{
    close_fd(&cursor->segment);
    cursor->segment = segment;
    cursor->start = start;
    move_to(cursor, offset);
}

static ssize_t read_at(const struct log_cursor *cursor, void *data, size_t size, uint64_t offset)
{
    return io_read_at(cursor->segment, data, size, (off_t)(offset - cursor->start));
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
    size_t size;      /* of the block's room */
    char *block;
};

static struct scan scan_begin(const struct log_cursor *cursor, uint64_t from, uint64_t to,
                              char *block, size_t size)
{
    return (struct scan){
        .cursor = cursor, .from = from, .newline = NONE, .base = to, .block = block, .size = size};
}

static int scan_fill(struct scan *scan)
{
    uint64_t left = scan->base - scan->from;
    size_t size = left < scan->size ? (size_t)left : scan->size;
    scan->base -= size;
    ssize_t count = read_at(scan->cursor, scan->block, size, scan->base);
    if (count != (ssize_t)size) {
        errno = count < 0 ? errno : EIO;
        return -1;
    }
    scan->filled = scan->left = size;
    return 0;
}

/* The next event end, which is where another event begins: the offset behind two newlines in a row.
 * 1; 0 when there is no more, *end is where the scan ends then; or -1. */
static int scan_back(struct scan *scan, uint64_t *end)
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
            *end = scan->from;
            return 0;
        }
        if (scan_fill(scan) < 0) {
            return -1;
        }
    }
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
    int found = scan_back(&scan, &end);
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

/* The event in [begin, end), by its edges. Its kind is EVENT_UNKNOWN where it cannot be read: then
 * errno says why, or is 0. */
static struct event read_event(const struct log_cursor *cursor, uint64_t begin, uint64_t end)
{
    char text[2 * EVENT_EDGE];
    uint64_t length = end - begin;
    size_t head = length <= sizeof(text) ? (size_t)length : EVENT_EDGE;
    size_t tail = length <= sizeof(text) ? 0 : EVENT_EDGE;
    errno = 0;
    bool is_read = read_at(cursor, text, head, begin) == (ssize_t)head &&
                   read_at(cursor, text + head, tail, end - tail) == (ssize_t)tail;
    return event_parse(text, is_read ? head + tail : 0);
}

/* The event that begins at `begin`, up to *end. EVENT_UNKNOWN as for read_event, or where no event
 * is whole. */
static struct event event_at(const struct log_cursor *cursor, uint64_t begin, uint64_t *end)
{
    errno = 0;
    return find_event_end(cursor, begin, end) == 1 ? read_event(cursor, begin, *end)
                                                   : (struct event){.kind = EVENT_UNKNOWN};
}

/* ---- seeking ---- */

/* Where the segment ends now, or NONE with errno. */
static uint64_t segment_end(const struct log_cursor *cursor)
{
    struct stat status;
    return fstat(cursor->segment, &status) < 0 ? NONE : cursor->start + (uint64_t)status.st_size;
}

/* Moves the cursor back from the last whole event of its segment, over *lines lines or as many as
 * there are, by which *lines becomes less. 0 or -1. */
static int go_back(struct log_cursor *cursor, uint64_t *lines)
{
    char block[BLOCK];
    uint64_t begin;
    uint64_t end = segment_end(cursor);
    if (end == NONE) {
        return -1;
    }
    struct scan scan = scan_begin(cursor, cursor->start, end, block, sizeof(block));
    int more = scan_back(&scan, &begin);
    while (more == 1 && *lines > 0) {
        more = scan_back(&scan, &begin);
        int is_line = more < 0 ? -1 : scan_is_line(&scan, begin);
        if (is_line < 0) {
            return -1;
        }
        *lines -= (uint64_t)is_line;
    }
    move_to(cursor, begin);
    return more < 0 ? -1 : 0;
}

int log_cursor_seek_newest(struct log_cursor *cursor, uint64_t lines)
{
    uint64_t start = NONE, later; /* only segments before this one are left to look at */
    do {
        if (job_segment_find(cursor->directory, start - 1, &start, &later) < 0) {
            return -1;
        }
        if (start == NONE) {
            break;
        }
        int segment = job_segment_open(cursor->directory, start, O_RDONLY);
        if (segment < 0 && errno == ENOENT) {
            continue; /* removed just now, and so are all before it */
        }
        if (segment < 0) {
            return -1;
        }
        enter_segment(cursor, segment, start, start);
        if (go_back(cursor, &lines) < 0) {
            return -1;
        }
    } while (lines > 0 && start > 0);
    return 0;
}

/* The first line from the cursor on; *reported is how many lines the gap events before it count. */
static struct event first_line(const struct log_cursor *cursor, uint64_t *reported)
{
    struct event event;
    *reported = 0;
    for (uint64_t at = cursor->offset, end;; at = end) {
        event = event_at(cursor, at, &end);
        if (event.kind != EVENT_GAP) {
            return event;
        }
        *reported += event.missed;
    }
}

/* The place behind an event, or the one where it begins or will begin. */
struct log_target {
    uint64_t offset, line; /* of that event */
    const char *seen;      /* its id; NULL: where it begins */
};

/* Whether the target's event begins at the cursor, where the log may end. */
static enum log_seek check_begin(struct log_cursor *cursor, const struct log_target *target)
{
    char before[] = EVENT_END;
    uint64_t reported, into = cursor->offset - cursor->start;
    ssize_t got = into == 0 ? 2 : into == 1 ? 0 : read_at(cursor, before, 2, cursor->offset - 2);
    if (got != 2 || memcmp(before, EVENT_END, 2) != 0) {
        return got < 0 ? LOG_SEEK_FAILED : LOG_SEEK_UNKNOWN;
    }
    struct event next = first_line(cursor, &reported);
    return next.kind == EVENT_LINE && next.id.line - reported != target->line ? LOG_SEEK_UNKNOWN
           : next.kind == EVENT_UNKNOWN && errno != 0                         ? LOG_SEEK_FAILED
                                                                              : LOG_SEEK_DONE;
}

/* To the target, whose event is at the cursor if it is there. */
static enum log_seek seek_in_segment(struct log_cursor *cursor, const struct log_target *target)
{
    char block[TAIL_BLOCK];
    uint64_t end = segment_end(cursor);
    if (end == NONE) {
        return LOG_SEEK_FAILED;
    }
    struct scan scan = scan_begin(cursor, cursor->start, end, block, sizeof(block));
    if (scan_back(&scan, &end) < 0) { /* of what is not whole */
        return LOG_SEEK_FAILED;
    }
    if (target->offset > end || (target->offset == end && target->seen != NULL)) {
        return LOG_SEEK_AHEAD;
    }
    if (target->seen == NULL) {
        return check_begin(cursor, target);
    }
    struct event found = event_at(cursor, target->offset, &end);
    if (found.kind != EVENT_LINE || strcmp(found.id.text, target->seen) != 0) {
        return found.kind == EVENT_UNKNOWN && errno != 0 ? LOG_SEEK_FAILED : LOG_SEEK_UNKNOWN;
    }
    move_to(cursor, end);
    return LOG_SEEK_DONE;
}

/*
 * The event was in a segment that is not there any more; the one at `after` is the oldest now. An
 * id that does not come before the ids in there has never been.
 */
static enum log_seek seek_removed(struct log_cursor *cursor, const struct log_target *target,
                                  uint64_t after)
{
    uint64_t reported;
    int segment = job_segment_open(cursor->directory, after, O_RDONLY);
    if (segment < 0) {
        return LOG_SEEK_FAILED;
    }
    enter_segment(cursor, segment, after, after);
    struct event oldest = first_line(cursor, &reported);
    if (oldest.kind == EVENT_LINE && target->line >= oldest.id.line - reported) {
        return LOG_SEEK_UNKNOWN;
    }
    enter_segment(cursor, -1, target->offset, target->offset); /* the next read jumps */
    cursor->expected = target->line + (target->seen != NULL);
    return LOG_SEEK_DONE;
}

static enum log_seek seek_target(struct log_cursor *cursor, const struct log_target *target)
{
    for (int attempt = 0; attempt < JUMP_ATTEMPTS; attempt++) {
        uint64_t before, after;
        if (job_segment_find(cursor->directory, target->offset, &before, &after) < 0) {
            return LOG_SEEK_FAILED;
        }
        if (before == NONE && after == NONE) {
            return LOG_SEEK_AHEAD;
        }
        enum log_seek found = LOG_SEEK_FAILED;
        int segment = -1;
        if (before == NONE) {
            found = seek_removed(cursor, target, after);
        } else if ((segment = job_segment_open(cursor->directory, before, O_RDONLY)) >= 0) {
            enter_segment(cursor, segment, before, target->offset);
            found = seek_in_segment(cursor, target);
        }
        if (found != LOG_SEEK_FAILED || errno != ENOENT) {
            return found;
        }
    }
    return LOG_SEEK_FAILED;
}

enum log_seek log_cursor_seek_after(struct log_cursor *cursor, const struct event_id *id)
{
    return seek_target(cursor, &(struct log_target){id->offset, id->line, id->text});
}

enum log_seek log_cursor_seek(struct log_cursor *cursor, uint64_t offset, uint64_t line)
{
    return seek_target(cursor, &(struct log_target){offset, line, NULL});
}

/* ---- reading ---- */

/* The number that the next line would have had: it follows from the last line before the cursor and
 * the gap events after that; or NONE. The segment may be removed, but it is open. */
static uint64_t expected_line(const struct log_cursor *cursor)
{
    char block[BLOCK];
    uint64_t begin = 0, reported = 0;
    struct scan scan = scan_begin(cursor, cursor->start, cursor->offset, block, sizeof(block));
    int more = scan_back(&scan, &begin);
    for (uint64_t end = begin; more == 1; end = begin) {
        more = scan_back(&scan, &begin);
        struct event event =
            more < 0 ? (struct event){.kind = EVENT_UNKNOWN} : read_event(cursor, begin, end);
        if (event.kind != EVENT_GAP) {
            return event.kind == EVENT_LINE ? event.id.line + 1 + reported : NONE;
        }
        reported += event.missed;
    }
    return NONE;
}

/* To the oldest segment there is behind the cursor. 1, 0 when there is none, or -1. */
static int jump(struct log_cursor *cursor, struct log_gap *gap)
{
    for (int attempt = 0; attempt < JUMP_ATTEMPTS; attempt++) {
        uint64_t before, after;
        if (job_segment_find(cursor->directory, cursor->offset, &before, &after) < 0) {
            return -1;
        }
        uint64_t start = before == cursor->offset ? before : after;
        if (start == NONE || (start == cursor->start && cursor->segment >= 0)) {
            return 0;
        }
        int segment = job_segment_open(cursor->directory, start, O_RDONLY);
        if (segment >= 0) {
            if (start > cursor->offset && gap->bytes == 0 && cursor->segment >= 0) {
                cursor->expected = expected_line(cursor);
            }
            gap->bytes += start - cursor->offset;
            enter_segment(cursor, segment, start, start);
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
    enter_segment(cursor, segment, cursor->offset, cursor->offset);
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

/* Compares the number that was expected at the cursor with what is there. Lines that gap events
 * count which come next are not counted twice. */
static void measure_gap(const struct log_cursor *cursor, struct log_gap *gap)
{
    uint64_t reported;
    struct event next = first_line(cursor, &reported);
    if (next.kind != EVENT_LINE) {
        return;
    }
    (void)snprintf(gap->next_id, sizeof(gap->next_id), "%s", next.id.text);
    if (cursor->expected == NONE || reported > next.id.line ||
        cursor->expected > next.id.line - reported) {
        return;
    }
    gap->lines_known = true;
    gap->lines = next.id.line - reported - cursor->expected;
    if (gap->lines == 0) {
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

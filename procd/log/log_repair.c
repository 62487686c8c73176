/*
 * The segments that a dead runner has left are mapped. The ids of the lines at both ends of the log
 * say where it stands.
 */
#include "procd/log/log_repair.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "procd/log/event_id.h"
#include "procd/log/job_position.h"
#include "procd/log/job_segment.h"

struct mapped {
    char *text; /* NULL if it is empty */
    size_t length;
};

static void unmap(struct mapped *mapped)
{
    if (mapped->text != NULL) {
        (void)munmap(mapped->text, mapped->length);
    }
}
#define cleanup_mapped cleanup_(unmap)

static int map_segment(int fd, struct mapped *mapped)
{
    struct stat status;
    *mapped = (struct mapped){0};
    if (fd < 0 || fstat(fd, &status) < 0) {
        return -1;
    }
    if (status.st_size == 0) {
        return 0;
    }
    void *text = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED) {
        return -1;
    }
    *mapped = (struct mapped){text, (size_t)status.st_size};
    return 0;
}

/* Cuts the torn event at the end of a segment. *whole is the length that is left. 0 or -1. */
static int cut_torn_event(int directory, uint64_t start, size_t *whole)
{
    cleanup_mapped struct mapped mapped = {0};
    cleanup_fd int fd = job_segment_open(directory, start, O_RDWR);
    if (map_segment(fd, &mapped) < 0) {
        return -1;
    }
    *whole = events_end(mapped.text, mapped.length);
    return *whole == mapped.length ? 0 : ftruncate(fd, (off_t)*whole);
}

/* The first line among whole events, and the last one. False if there is none. */
static bool first_line(const struct mapped *events, struct event_id *id)
{
    struct event event = {.kind = EVENT_GAP};
    for (size_t at = 0; event.kind == EVENT_GAP && at < events->length;) {
        const char *end = memmem(events->text + at, events->length - at, EVENT_END, 2);
        size_t length = end == NULL ? 0 : (size_t)(end - events->text) + 2 - at;
        event = event_parse(events->text + at, length);
        at += length;
    }
    *id = event.id;
    return event.kind == EVENT_LINE;
}

static bool last_line(const struct mapped *events, struct event_id *id)
{
    struct event event = {.kind = EVENT_UNKNOWN};
    for (size_t end = events->length; event.kind != EVENT_LINE && end > 0;) {
        size_t begin = events_end(events->text, end - 1);
        event = event_parse(events->text + begin, end - begin);
        end = begin;
    }
    *id = event.id;
    return event.kind == EVENT_LINE;
}

/*
 * The oldest line from the segment at `start` on, or the newest one back from there. 1; 0 if there
 * is none; -1 with errno.
 */
static int find_line(int directory, uint64_t start, bool want_newest, struct event_id *id)
{
    while (start != JOB_SEGMENT_NONE) {
        cleanup_mapped struct mapped mapped = {0};
        cleanup_fd int fd = job_segment_open(directory, start, O_RDONLY);
        uint64_t before = JOB_SEGMENT_NONE;
        uint64_t after = JOB_SEGMENT_NONE;
        if (map_segment(fd, &mapped) < 0) {
            return -1;
        }
        if (want_newest ? last_line(&mapped, id) : first_line(&mapped, id)) {
            return 1;
        }
        if ((!want_newest || start > 0) &&
            job_segment_find(directory, want_newest ? start - 1 : start, &before, &after) < 0) {
            return -1;
        }
        start = want_newest ? before : after;
    }
    return 0;
}

/* Whether the lines at both ends of a log that ends at `end` can be of one log; a command may have
 * written over them. */
static bool ids_agree(const struct event_id *oldest, const struct event_id *newest_line,
                      uint64_t end)
{
    return oldest->offset <= end && oldest->line <= newest_line->line &&
           newest_line->line < INT64_MAX;
}

/* Of a log with lines, whose ids agree. Only the old position knows what full disks have cost. */
static struct job_position position_of_lines(const struct event_id *oldest,
                                             const struct event_id *newest_line, uint64_t end,
                                             const struct job_position *old)
{
    uint64_t next_line =
        newest_line->line >= old->next_line ? newest_line->line + 1 : old->next_line;
    uint64_t dropped = oldest->line + old->lines_dropped - old->first_line;
    return (struct job_position){.first_offset = oldest->offset,
                                 .first_line = oldest->line,
                                 .next_offset = end,
                                 .next_line = next_line,
                                 .lines_dropped = dropped <= next_line ? dropped : oldest->line};
}

/* Where a log stands that ends with a whole event at `end`, in the segment at `last`. 0 or -1. */
static int find_position(int directory, uint64_t last, uint64_t end, struct job_position *position)
{
    struct job_position old = {0};
    struct event_id oldest;
    struct event_id newest_line;
    uint64_t first;
    uint64_t after;
    if (job_position_read(directory, &old) < 0) {
        old = (struct job_position){0};
    }
    if (job_segment_find(directory, 0, &first, &after) < 0) {
        return -1;
    }
    first = first == JOB_SEGMENT_NONE ? after : first;
    *position = (struct job_position){end, old.next_line, end, old.next_line, old.next_line};
    int found = find_line(directory, last, true, &newest_line);
    found = found <= 0 ? found : find_line(directory, first, false, &oldest);
    if (found < 0) {
        return -1;
    }
    if (found > 0 && ids_agree(&oldest, &newest_line, end)) {
        *position = position_of_lines(&oldest, &newest_line, end, &old);
    }
    return 0;
}

int job_log_repair(int directory)
{
    uint64_t last;
    uint64_t after;
    size_t whole;
    struct job_position position;
    if (job_segment_find(directory, JOB_SEGMENT_NONE - 1, &last, &after) < 0) {
        return -1;
    }
    if (last == JOB_SEGMENT_NONE) {
        return 0;
    }
    if (cut_torn_event(directory, last, &whole) < 0 ||
        find_position(directory, last, last + whole, &position) < 0) {
        return -1;
    }
    cleanup_fd int fd = job_position_create(directory, &position);
    return fd < 0 ? -1 : 0;
}

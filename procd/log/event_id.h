/*
 * The ids of the events in a job's log (job_files.h describes their form), and the kinds of events.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_TAG_LENGTH 8
#define EVENT_ID_SIZE    (EVENT_TAG_LENGTH + 1 + 20 + 1 + 20 + 1)

struct event_id {
    char text[EVENT_ID_SIZE];
    uint64_t offset; /* of the event in the log, bytes */
    uint64_t line;   /* its number */
};

/* Reads text[0..length), all of which must be an id in its only spelling. */
bool event_id_parse(const char *text, size_t length, struct event_id *id);

/* Renders the id of the job's event at `offset` with this number. The length. */
size_t event_id_render(const char *job_id, uint64_t offset, uint64_t line,
                       char text[EVENT_ID_SIZE]);

/* Whether an id can be one of the job's. */
bool event_id_is_of(const struct event_id *id, const char *job_id);

/*
 * The id of the event that ends a stream for good: "<tag>-end". It names no place in a log. A
 * client that comes back with it has everything.
 */
bool event_id_is_end(const char *text);

/* Renders that id for the job; its tag is zeros where `job_id` does not begin as a job's id does.
 */
void event_id_render_end(const char *job_id, char text[EVENT_ID_SIZE]);

/* ---- the events of a log ---- */

#define EVENT_ID_BEGIN "\nid: " /* what comes before the id of a line's event */
#define EVENT_END      "\n\n"

/* The first EVENT_KIND_SIZE bytes of an event say whether it is a line. */
#define EVENT_KIND_SIZE ((size_t)10)
bool event_is_line(const char *text, size_t length);

/* So many bytes at the beginning and at the end of an event say everything but the line itself. */
#define EVENT_EDGE ((size_t)64)

enum event_kind {
    EVENT_UNKNOWN, /* not from a runner */
    EVENT_LINE,    /* `id` is its id */
    EVENT_GAP,     /* `missed` lines were lost to a full disk */
};

struct event {
    enum event_kind kind;
    struct event_id id;
    uint64_t missed;
};

/*
 * Reads a whole event, with the empty line at its end. Of one that is longer than 2 * EVENT_EDGE
 * the first and the last EVENT_EDGE bytes, one after the other, are enough.
 */
struct event event_parse(const char *text, size_t length);

/* Where the last whole event in text[0..length) ends; 0 if none does. */
size_t events_end(const char *text, size_t length);

/*
 * The ids of the events in a job's log (job_files.h tells their form), and what else the beginning
 * of an event says.
 *
 * Thread-safe.
 */
#ifndef PROCD_LOG_EVENT_ID_H
#define PROCD_LOG_EVENT_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_TAG_LENGTH 8
#define EVENT_ID_SIZE    (EVENT_TAG_LENGTH + 1 + 20 + 1 + 20 + 1)

struct event_id {
    char text[EVENT_ID_SIZE];
    bool numbered;   /* false: a bare offset, of a log from before there were tags and lines */
    uint64_t offset; /* of the event in the log, bytes */
    uint64_t line;   /* its number; 0 if it has none */
};

/* Reads text[0..length), all of which must be an id in its only spelling. */
bool event_id_parse(const char *text, size_t length, struct event_id *id);

/* Whether an id can be one of the job's; a bare offset can be any job's. */
bool event_id_is_of(const struct event_id *id, const char *job_id);

/* What the first EVENT_HEAD_MAX bytes of an event tell. */
#define EVENT_HEAD_MAX ((size_t)64)

enum event_kind {
    EVENT_UNKNOWN, /* not all there, or not from a runner */
    EVENT_LINE,    /* `id` is its id */
    EVENT_GAP,     /* `missed` lines were lost to a full disk; the event is `length` bytes long */
};

struct event_head {
    enum event_kind kind;
    struct event_id id;
    uint64_t missed;
    size_t length;
};

struct event_head event_head_parse(const char *text, size_t length);

#endif

/*
 * A cursor in a job's log: reads the segments (procd/log/job_files.h) one after the other while
 * their runner appends to them. Only whole events are handed out. A cursor belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "procd/log/event_id.h"

struct log_cursor {
    int directory;     /* borrowed */
    int segment;       /* -1 while there is none */
    uint64_t start;    /* offset in the log of the segment's first byte */
    uint64_t offset;   /* the next byte to hand out */
    uint64_t whole;    /* up to here all events are known to be whole; >= offset */
    uint64_t searched; /* up to here there is no event end but those before `whole` */
    uint64_t expected; /* of the line at the cursor where a gap begins: its number; or UINT64_MAX */
};

/* At the beginning of the log. */
void log_cursor_init(struct log_cursor *cursor, int directory_fd);
void log_cursor_clear(struct log_cursor *cursor);

/* To the newest `lines` lines, or all if there are fewer. 0, or -1 with errno. */
int log_cursor_seek_newest(struct log_cursor *cursor, uint64_t lines);

enum log_seek {
    LOG_SEEK_DONE,
    LOG_SEEK_FAILED,  /* errno says why */
    LOG_SEEK_FOREIGN, /* the id is another job's: for callers, the cursor does not know the job */
    LOG_SEEK_AHEAD,   /* the log has not come so far */
    LOG_SEEK_UNKNOWN, /* no event of the log has this id */
};

/*
 * To what follows the event of this id (of this job: event_id_is_of). Where that event has been
 * removed, the next read reports what is missing. The cursor is of no use after a failure.
 */
enum log_seek log_cursor_seek_after(struct log_cursor *cursor, const struct event_id *id);

/* To where the event of this number begins or will begin, as log_cursor_seek_after(). */
enum log_seek log_cursor_seek(struct log_cursor *cursor, uint64_t offset, uint64_t line);

/* What was removed before a cursor could read it. */
struct log_gap {
    uint64_t bytes;   /* from the cursor to what it reads next; 0: there is no gap */
    bool lines_known; /* false where the ids around the gap are damaged, or none follows yet */
    uint64_t lines;
    char next_id[EVENT_ID_SIZE]; /* of the line that follows; "" if there is none yet */
};

/*
 * Bytes of whole events (a call may end in the middle of one: the rest of it is there). 0 when
 * there is nothing more for now; -1 with errno. *gap is what is missing before the first one
 * returned, usually nothing.
 */
ssize_t log_cursor_read(struct log_cursor *cursor, void *data, size_t size, struct log_gap *gap);

/* Takes back the last bytes of what log_cursor_read() returned just now: the next call returns them
 * again. */
static inline void log_cursor_unread(struct log_cursor *cursor, size_t length)
{
    cursor->offset -= length;
}

/*
 * A cursor in a job's log: reads the segments (procd/job_files.h) one after the other while their
 * runner appends to them. Only whole events are handed out. A cursor belongs to one thread.
 */
#ifndef FCGI_APP_LOG_CURSOR_H
#define FCGI_APP_LOG_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct log_cursor {
    int directory;     /* borrowed */
    int segment;       /* -1 while there is none */
    uint64_t start;    /* offset in the log of the segment's first byte */
    uint64_t offset;   /* the next byte to hand out */
    uint64_t whole;    /* up to here all events are known to be whole; >= offset */
    uint64_t searched; /* up to here there is no event end but those before `whole` */
};

/* At the beginning of the log. */
void log_cursor_init(struct log_cursor *cursor, int directory_fd);
void log_cursor_clear(struct log_cursor *cursor);

/* To the newest `events` events, or all if there are fewer. 0, or -1 with errno. */
int log_cursor_seek_newest(struct log_cursor *cursor, uint64_t events);

/*
 * To the first event after the one that begins at `event`. Where that has been removed, the next
 * read tells what is missing. 0; 1 when there is no such event; -1 with errno.
 */
int log_cursor_seek_after(struct log_cursor *cursor, uint64_t event);

/*
 * Bytes of whole events (a call may end in the middle of one: the rest of it is there). 0 when
 * there is nothing more for now; -1 with errno. *missed is how many bytes of the log before the
 * first one returned had been removed before they were read, usually 0.
 */
ssize_t log_cursor_read(struct log_cursor *cursor, void *data, size_t size, uint64_t *missed);

/* Takes back the last bytes of what log_cursor_read() returned just now: the next call returns them
 * again. */
void log_cursor_unread(struct log_cursor *cursor, size_t length);

#endif

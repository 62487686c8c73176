/*
 * Streams: answers that follow something, mostly on the disk, and outlast the handler that began
 * them. One thread sends all of them, woken by inotify and epoll. A stream that has nothing to send
 * costs a few hundred bytes. A client that does not read delays its own stream only, because what
 * was not sent yet stays with the stream's source.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/http/sse.h"

struct admission;
struct request;

/* What a source has for its stream. */
enum stream_next {
    STREAM_BYTES,      /* the next bytes of its events */
    STREAM_EVENT,      /* a short event, whole */
    STREAM_LAST_EVENT, /* the same; the answer ends with it */
    STREAM_NOTHING,    /* look again when the stream is woken */
    STREAM_FAILED,     /* errno says why */
};

/* Where a source puts it. */
struct stream_output {
    char *bytes; /* for STREAM_BYTES: `size` bytes, which all streams share */
    size_t size;
    char *event;   /* for STREAM_EVENT and STREAM_LAST_EVENT: SSE_SHORT_SIZE bytes */
    size_t length; /* of either */
};

/* What a stream sends. All its functions are called by the streams' thread and do not wait. */
struct stream_source {
    int directory;       /* its changes wake the stream; the source closes it. -1: streams_tell() */
    const char *name;    /* in the server's log */
    const char *failure; /* what the client reads after STREAM_FAILED */

    enum stream_next (*next)(struct stream_source *source, struct stream_output *output);

    /* Takes back the last bytes of the STREAM_BYTES that it returned just now. */
    void (*unread)(struct stream_source *source, size_t length);

    /* Whether what it has handed out ends with a whole event, so that another one may follow. */
    bool (*is_between_events)(const struct stream_source *source);

    /* Whether no more is written to it: a server that stops lets it end by itself. */
    bool (*is_complete)(const struct stream_source *source);

    void (*free)(struct stream_source *source);
};

/* Makes the thread. 0, or -1 with errno. Call once, before the first request. */
int streams_start(void);

/* Wakes the streams that have no directory: there may be news for them. Thread-safe. */
void streams_tell(void);

/*
 * Sends what the source has, until it or the server ends. Takes over, in any case: the request,
 * whose answer has begun; and the source. Takes the admission over unless it fails, in which case
 * it aborts the request. The handler returns at once. Thread-safe.
 */
void stream_open(struct request *request, struct stream_source *source,
                 struct admission *admission);

/*
 * Where the events of a stream come from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/streams/wakes.h"

struct stream;

/* What a source has for its stream. */
enum stream_next {
    STREAM_BYTES,      /* the next bytes of its events */
    STREAM_EVENT,      /* a short event, whole */
    STREAM_LAST_EVENT, /* the same; the answer ends with it */
    STREAM_NOTHING,    /* look again when the directory has changed, or it is woken */
    STREAM_LATER,      /* look again at `due`, at the latest */
    STREAM_FAILED,     /* errno says why */
};

/* Where a source puts it. */
struct stream_output {
    char *bytes; /* for STREAM_BYTES: `size` bytes, which all streams share */
    size_t size;
    char *event;   /* for STREAM_EVENT and STREAM_LAST_EVENT: SSE_SHORT_SIZE bytes */
    size_t length; /* of either */
    int64_t due;   /* for STREAM_LATER: ms of the monotonic clock */
};

/* What a stream sends. All its functions are called by the streams' thread and do not wait. */
struct stream_source {
    /* Its changes wake the stream; the source closes it. -1: streams_tell() or the waker does. */
    int directory;
    struct waker waker;
    struct stream *stream; /* for streams.c; NULL at first */
    const char *name;      /* in the server's log */
    const char *failure;   /* what the client reads after STREAM_FAILED */

    /* The HTTP status of an answer that is no stream of events: the source sends its head, too, and
     * hears itself of a stop of the server. 0 for a stream, and until the head is sent. */
    int status;
    bool is_answer;

    enum stream_next (*next)(struct stream_source *source, struct stream_output *output);

    /* Takes back the last bytes of the STREAM_BYTES that it returned just now. */
    void (*unread)(struct stream_source *source, size_t length);

    /* Whether what it has handed out ends with a whole event, so that another one may follow. */
    bool (*is_between_events)(const struct stream_source *source);

    /* Whether no more is written to it: a server that stops lets it end by itself. */
    bool (*is_complete)(const struct stream_source *source);

    /* After it nobody wakes the stream; the caller has forgotten the waker before. A source that
     * other threads wake forgets it once more. */
    void (*free)(struct stream_source *source);
};

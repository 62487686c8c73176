/*
 * Theory of operation: each stream is in one state, and the thread goes round: it takes what epoll
 * and inotify report, which changes states by the table below, and then gives each ready stream a
 * turn. In its turn a stream sends what its source has, through one buffer of the thread, until
 * the source has no more or the connection is full. Short events are rendered into the stream,
 * because a source could not hand them out twice.
 */
#include "fcgi-app/streams/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/errors.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/detached_thread.h"
#include "common/io.h"
#include "common/logger.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/outlet.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/streams/watch.h"

#define CHUNK    ((size_t)131072)
#define CHUNKS   4 /* that one stream sends before it is the next one's turn */
#define EVENTS   64
#define BATCH_MS 5  /* what grows quickly is sent in larger pieces: at most this often */
#define POLL_MS  25 /* for streams that cannot be watched: the kernel's limits are reached */

enum stream_state {
    STREAM_IDLE, /* the source has nothing */
    STREAM_FULL, /* the connection takes no more */
    /* Those behind this line are in the list of the ready. */
    STREAM_READY,
    STREAM_LEFT, /* its client has left */
};

enum stream_wake { WAKE_CHANGE, WAKE_ROOM, WAKE_LEFT, WAKES };

static const enum stream_state state_after[][WAKES] = {
    /*                a change      room in the connection  the client leaves */
    [STREAM_IDLE] = {STREAM_READY, STREAM_READY, STREAM_LEFT},
    [STREAM_FULL] = {STREAM_FULL, STREAM_READY, STREAM_LEFT},
    [STREAM_READY] = {STREAM_READY, STREAM_READY, STREAM_LEFT},
    [STREAM_LEFT] = {STREAM_LEFT, STREAM_LEFT, STREAM_LEFT},
};

struct stream {
    struct outlet outlet;
    struct stream_source *source; /* owned */
    struct watcher watcher;
    struct admission admission;
    char *request_id;
    char event[SSE_SHORT_SIZE]; /* a short event */
    size_t event_length, event_sent;
    bool ending;         /* that event is the last */
    bool waits_for_room; /* epoll reports it */
    enum stream_state state;
    int64_t last_sent;           /* ms */
    TAILQ_ENTRY(stream) streams; /* by last_sent */
    STAILQ_ENTRY(stream) ready;
};

TAILQ_HEAD(stream_list, stream);
STAILQ_HEAD(ready_list, stream);

/* Other threads hand streams over here: each pointer is a packet. NULL: there is news. It is no
 * pipe, which the commands' user could open by its name in /proc. */
static int inbox[2] = {-1, -1};

/* The thread's own. */
static struct {
    int epoll;
    struct watch_table watches;
    struct stream_list streams; /* all, the longest silent first */
    struct ready_list ready;    /* STREAM_READY and STREAM_LEFT */
    size_t unwatched;           /* streams that must be polled */
    bool changed;               /* inotify has something to read */
    int64_t last_batch;         /* ms */
    bool stopping;
    char *buffer; /* CHUNK bytes */
} loop = {.epoll = -1,
          .streams = TAILQ_HEAD_INITIALIZER(loop.streams),
          .ready = STAILQ_HEAD_INITIALIZER(loop.ready)};

/* Whether it has a directory that nothing watches. */
static bool is_polled(const struct stream *stream)
{
    return stream->source->directory >= 0 && stream->watcher.descriptor < 0;
}

static void stream_wake(struct stream *stream, enum stream_wake wake)
{
    enum stream_state state = state_after[stream->state][wake];
    if (stream->state < STREAM_READY && state >= STREAM_READY) {
        STAILQ_INSERT_TAIL(&loop.ready, stream, ready);
    }
    stream->state = state;
}

/* `mark` comes back with what is reported. */
static int epoll_set(int operation, int fd, uint32_t events, void *mark)
{
    struct epoll_event event = {.events = events, .data.ptr = mark};
    return epoll_ctl(loop.epoll, operation, fd, &event);
}

/* `whole`: the answer has its end, and the connection can serve on. */
static void stream_free(struct stream *stream, bool whole)
{
    outlet_close(&stream->outlet, whole);
    stream->source->free(stream->source);
    admission_leave(&stream->admission);
    free(stream->request_id);
    free(stream);
}

/* Takes it out of the loop. */
static void stream_close(struct stream *stream, bool whole)
{
    (void)epoll_ctl(loop.epoll, EPOLL_CTL_DEL, stream->outlet.fd, NULL);
    loop.unwatched -= is_polled(stream);
    watcher_remove(&loop.watches, &stream->watcher);
    TAILQ_REMOVE(&loop.streams, stream, streams);
    stream_free(stream, whole);
}

/* ---- a stream's turn ---- */

enum progress { PROGRESS_MORE, PROGRESS_NOTHING, PROGRESS_FULL, PROGRESS_WHOLE, PROGRESS_CUT };

/* The event in the stream's buffer comes next. */
static enum progress set_event(struct stream *stream, size_t length, bool is_last)
{
    stream->event_sent = 0;
    stream->event_length = length;
    stream->ending = is_last;
    return PROGRESS_MORE;
}

/* What is no event of its own comes next. */
static void set_text(struct stream *stream, const char *text)
{
    (void)set_event(stream, (size_t)snprintf(stream->event, SSE_SHORT_SIZE, "%s", text), false);
}

static enum progress set_last_error(struct stream *stream, enum api_error error,
                                    const char *message)
{
    size_t length =
        sse_short(stream->event, NULL, "error", "{\"error\":\"%s\",\"error_code\":\"%s\"}", message,
                  api_error_code(error));
    return set_event(stream, length, true);
}

/* Half an event cannot be followed by another: then the answer is cut. */
static enum progress stream_fail(struct stream *stream)
{
    const struct stream_source *source = stream->source;
    log_request(LOG_ERR, stream->request_id, "%s: %m", source->name);
    return source->is_between_events(source)
               ? set_last_error(stream, ERROR_internal, source->failure)
               : PROGRESS_CUT;
}

/* *sent is less than `length` when the connection is full. */
static enum progress send_bytes(struct stream *stream, const char *data, size_t length,
                                size_t *sent)
{
    ssize_t count = outlet_send(&stream->outlet, data, length);
    *sent = count < 0 ? 0 : (size_t)count;
    if (count < 0) {
        return PROGRESS_CUT;
    }
    stream->last_sent = clock_monotonic_ms();
    return *sent < length ? PROGRESS_FULL : PROGRESS_MORE;
}

static enum progress send_end(struct stream *stream)
{
    admission_leave(&stream->admission); /* a client that sees the end may open the next stream */
    int ended = outlet_end(&stream->outlet);
    return ended < 0 ? PROGRESS_CUT : ended == 0 ? PROGRESS_FULL : PROGRESS_WHOLE;
}

static enum progress send_next(struct stream *stream)
{
    struct stream_source *source = stream->source;
    struct stream_output output = {.bytes = loop.buffer, .size = CHUNK, .event = stream->event};
    if (loop.stopping && source->is_between_events(source) && !source->is_complete(source)) {
        return set_last_error(stream, ERROR_stopping, "The server is stopping");
    }
    enum stream_next next = source->next(source, &output);
    if (next == STREAM_BYTES) {
        size_t sent;
        enum progress progress = send_bytes(stream, output.bytes, output.length, &sent);
        source->unread(source, output.length - sent);
        return progress;
    }
    if (next == STREAM_EVENT || next == STREAM_LAST_EVENT) {
        return set_event(stream, output.length, next == STREAM_LAST_EVENT);
    }
    return next == STREAM_NOTHING ? PROGRESS_NOTHING : stream_fail(stream);
}

static enum progress stream_step(struct stream *stream)
{
    if (stream->event_sent == stream->event_length) {
        return stream->ending ? send_end(stream) : send_next(stream);
    }
    size_t sent;
    enum progress progress = send_bytes(stream, stream->event + stream->event_sent,
                                        stream->event_length - stream->event_sent, &sent);
    stream->event_sent += sent;
    return progress;
}

/* Epoll reports that the client has left and, if the stream waits for it, room. */
static int set_interest(struct stream *stream, int operation)
{
    return epoll_set(operation, stream->outlet.fd,
                     EPOLLRDHUP | (stream->waits_for_room ? EPOLLOUT : 0U), stream);
}

/* The stream was taken out of the list. */
static void take_turn(struct stream *stream)
{
    int64_t was_sent = stream->last_sent;
    bool has_waited = stream->waits_for_room;
    enum progress progress = stream->state == STREAM_LEFT ? PROGRESS_CUT : PROGRESS_MORE;
    for (int step = 0; step < CHUNKS && progress == PROGRESS_MORE; step++) {
        progress = stream_step(stream);
    }
    stream->waits_for_room = progress == PROGRESS_FULL;
    if (progress == PROGRESS_WHOLE || progress == PROGRESS_CUT ||
        (stream->waits_for_room != has_waited && set_interest(stream, EPOLL_CTL_MOD) < 0)) {
        stream_close(stream, progress == PROGRESS_WHOLE);
        return;
    }
    stream->state = stream->waits_for_room ? STREAM_FULL : STREAM_IDLE;
    if (progress == PROGRESS_MORE) {
        stream_wake(stream, WAKE_CHANGE); /* after the others */
    }
    if (stream->last_sent != was_sent) {
        TAILQ_REMOVE(&loop.streams, stream, streams);
        TAILQ_INSERT_TAIL(&loop.streams, stream, streams);
    }
}

/* Every stream that is ready now gets its turn. */
static void take_turns(void)
{
    struct ready_list ready = STAILQ_HEAD_INITIALIZER(ready);
    STAILQ_CONCAT(&ready, &loop.ready);
    struct stream *stream;
    while ((stream = STAILQ_FIRST(&ready)) != NULL) {
        STAILQ_REMOVE_HEAD(&ready, ready);
        take_turn(stream);
    }
}

/* ---- what wakes streams ---- */

static void wake_watcher(struct watcher *watcher)
{
    stream_wake((struct stream *)(void *)((char *)watcher - offsetof(struct stream, watcher)),
                WAKE_CHANGE);
}

static void read_changes(void)
{
    loop.changed = false;
    loop.last_batch = clock_monotonic_ms();
    if (watch_table_read(&loop.watches, wake_watcher) < 0) {
        log_line("inotify: %m");
        loop.changed = true; /* with the next batch: epoll reports what is there only once */
    }
}

static bool is_any(const struct stream *stream)
{
    (void)stream;
    return true;
}

static bool is_told(const struct stream *stream)
{
    return stream->source->directory < 0;
}

static void wake_streams(bool (*which)(const struct stream *stream))
{
    struct stream *stream;
    TAILQ_FOREACH (stream, &loop.streams, streams) {
        if (which(stream)) {
            stream_wake(stream, WAKE_CHANGE);
        }
    }
}

/* Sends a sign of life to those that have been silent for long. */
static void keep_streams_alive(int64_t now)
{
    struct stream *stream;
    while ((stream = TAILQ_FIRST(&loop.streams)) != NULL &&
           now - stream->last_sent >= sse_keepalive_ms()) {
        stream->last_sent = now;
        TAILQ_REMOVE(&loop.streams, stream, streams);
        TAILQ_INSERT_TAIL(&loop.streams, stream, streams);
        /* Nothing may come between the halves of an event; a full connection is not silent. */
        if (stream->state != STREAM_FULL && stream->source->is_between_events(stream->source) &&
            stream->event_sent == stream->event_length && !stream->ending) {
            set_text(stream, SSE_KEEPALIVE);
            stream_wake(stream, WAKE_CHANGE);
        }
    }
}

static void begin_to_stop(void)
{
    loop.stopping = true;
    (void)epoll_ctl(loop.epoll, EPOLL_CTL_DEL, stopping_fd(), NULL);
    wake_streams(is_any);
}

/* ---- new streams ---- */

static void add_stream(struct stream *stream)
{
    stream->last_sent = clock_monotonic_ms();
    TAILQ_INSERT_TAIL(&loop.streams, stream, streams);
    stream->watcher.descriptor = -1;
    /* Watched before the source looks for the first time, or a change between the two is missed. */
    if (!is_told(stream) &&
        watcher_add(&loop.watches, &stream->watcher, stream->source->directory) < 0 &&
        loop.unwatched++ == 0) {
        log_at(LOG_WARNING, "a stream's directory cannot be watched and is polled instead: %m");
    }
    if (set_interest(stream, EPOLL_CTL_ADD) < 0) {
        log_request(LOG_ERR, stream->request_id, "epoll_ctl: %m");
        stream_close(stream, false);
        return;
    }
    stream_wake(stream, WAKE_CHANGE);
}

static void empty_inbox(void)
{
    struct stream *stream;
    while (io_read_full(inbox[0], &stream, sizeof(stream)) == sizeof(stream)) {
        if (stream != NULL) {
            add_stream(stream);
        } else {
            wake_streams(is_told);
        }
    }
}

void streams_tell(void)
{
    struct stream *none = NULL;
    if (io_write_all(inbox[1], &none, sizeof(none)) < 0) {
        log_line("the streams cannot be told: %m");
    }
}

void stream_open(struct request *request, struct stream_source *source, struct admission *admission)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    char *id = strdup(request_id(request));
    if (stream == NULL || id == NULL || request_detach(request, &stream->outlet) < 0) {
        free(id);
        free(stream);
        source->free(source);
        request_abort(request);
        return;
    }
    stream->source = source;
    stream->request_id = id;
    set_text(stream, SSE_RETRY);
    stream->admission = *admission;
    admission->held = false;
    if (io_write_all(inbox[1], &stream, sizeof(stream)) < 0) {
        log_request(LOG_ERR, id, "the streams cannot take another: %m");
        stream_free(stream, false);
    }
}

/* ---- the thread ---- */

/* How long epoll_wait(2) may wait; -1 for ever. */
static int wait_time(int64_t now)
{
    int64_t wait = INT64_MAX;
    const struct stream *stream = TAILQ_FIRST(&loop.streams);
    if (!STAILQ_EMPTY(&loop.ready)) {
        return 0;
    }
    if (stream != NULL) {
        wait = stream->last_sent + sse_keepalive_ms() - now;
    }
    if (loop.changed && loop.last_batch + BATCH_MS - now < wait) {
        wait = loop.last_batch + BATCH_MS - now;
    }
    if (loop.unwatched > 0 && wait > POLL_MS) {
        wait = POLL_MS;
    }
    return wait == INT64_MAX ? -1 : wait < 0 ? 0 : (int)wait;
}

/* Their addresses stand for the descriptors that belong to no stream. */
static char inbox_mark, changes_mark, stop_mark;

static void take_event(const struct epoll_event *event)
{
    if (event->data.ptr == &inbox_mark) {
        empty_inbox();
    } else if (event->data.ptr == &changes_mark) {
        loop.changed = true;
    } else if (event->data.ptr == &stop_mark) {
        begin_to_stop();
    } else {
        bool has_left = (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        stream_wake(event->data.ptr, has_left ? WAKE_LEFT : WAKE_ROOM);
    }
}

__attribute__((noreturn)) static void *run_streams(void *unused)
{
    (void)unused;
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(loop.epoll, events, EVENTS, wait_time(clock_monotonic_ms()));
        for (int i = 0; i < count; i++) {
            take_event(&events[i]);
        }
        int64_t now = clock_monotonic_ms();
        if (loop.changed && now - loop.last_batch >= BATCH_MS) {
            read_changes();
        }
        if (loop.unwatched > 0) {
            wake_streams(is_polled);
        }
        keep_streams_alive(now);
        take_turns();
    }
}

int streams_start(void)
{
    loop.buffer = malloc(CHUNK);
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop.buffer == NULL || loop.epoll < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, inbox) < 0 ||
        io_set_nonblocking(inbox[0], 1) < 0 ||
        epoll_set(EPOLL_CTL_ADD, inbox[0], EPOLLIN, &inbox_mark) < 0 ||
        epoll_set(EPOLL_CTL_ADD, stopping_fd(), EPOLLIN, &stop_mark) < 0) {
        return -1;
    }
    /* Edge-triggered: it is read when a batch is due, not when epoll_wait(2) finds it. */
    if (watch_table_init(&loop.watches) < 0 ||
        epoll_set(EPOLL_CTL_ADD, loop.watches.fd, EPOLLIN | EPOLLET, &changes_mark) < 0) {
        log_line("streams cannot be watched and are polled instead: %m");
        close_fd(&loop.watches.fd);
    }
    errno = detached_thread_start(run_streams, NULL);
    return errno == 0 ? 0 : -1;
}

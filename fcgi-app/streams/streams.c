/*
 * Theory of operation: each stream is in one state, and the thread goes round: it takes what epoll
 * and inotify report, which changes states by the table below, and then gives each ready stream a
 * turn. In its turn a stream sends what its source has, through one buffer of the thread, until
 * the source has no more or the connection is full.
 */
#include "fcgi-app/streams/streams.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/detached_thread.h"
#include "common/logger.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/streams/delivery.h"
#include "fcgi-app/streams/watch.h"

#define CHUNK    ((size_t)131072)
#define CHUNKS   4 /* that one stream sends before it is the next one's turn */
#define EVENTS   64
#define BATCH_MS 5  /* what grows quickly is sent in larger pieces: at most this often */
#define POLL_MS  25 /* for streams that cannot be watched: the kernel's limits are reached */

/* The end of a log's directory is told, too. */
#define LOG_CHANGES (IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF)

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
    struct delivery delivery;
    struct watcher watcher;
    bool waits_for_room; /* epoll reports it */
    enum stream_state state;
    int64_t due;                 /* ms: in the list of the delayed; 0: it is not there */
    TAILQ_ENTRY(stream) streams; /* by when they sent last */
    STAILQ_ENTRY(stream) ready;
    TAILQ_ENTRY(stream) delayed;
};

TAILQ_HEAD(stream_list, stream);
STAILQ_HEAD(ready_list, stream);

/* What other threads hand over. */
static struct {
    pthread_mutex_t lock;
    struct ready_list streams; /* new ones */
    bool has_news;             /* for the streams without a directory */
} arrived = {.lock = PTHREAD_MUTEX_INITIALIZER,
             .streams = STAILQ_HEAD_INITIALIZER(arrived.streams)};

/* The thread's own. */
static struct {
    int epoll;
    struct watch_table watches;
    struct stream_list streams; /* all, the longest silent first */
    struct ready_list ready;    /* STREAM_READY and STREAM_LEFT */
    struct stream_list delayed; /* by due */
    size_t unwatched;           /* streams that must be polled */
    bool changed;               /* inotify has something to read */
    int64_t last_batch;         /* ms */
    bool stopping;
    char *buffer; /* CHUNK bytes */
} loop = {.epoll = -1,
          .streams = TAILQ_HEAD_INITIALIZER(loop.streams),
          .ready = STAILQ_HEAD_INITIALIZER(loop.ready),
          .delayed = TAILQ_HEAD_INITIALIZER(loop.delayed)};

/* Whether it has a directory that nothing watches. */
static bool is_polled(const struct stream *stream)
{
    return stream->delivery.source->directory >= 0 && stream->watcher.descriptor < 0;
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

static void set_due(struct stream *stream, int64_t due)
{
    struct stream *before;
    if (stream->due != 0) {
        TAILQ_REMOVE(&loop.delayed, stream, delayed);
    }
    stream->due = due;
    if (due == 0) {
        return;
    }
    TAILQ_FOREACH_REVERSE(before, &loop.delayed, stream_list, delayed)
    {
        if (before->due <= due) {
            TAILQ_INSERT_AFTER(&loop.delayed, before, stream, delayed);
            return;
        }
    }
    TAILQ_INSERT_HEAD(&loop.delayed, stream, delayed);
}

/* Takes it out of the loop. */
static void stream_close(struct stream *stream, bool whole)
{
    (void)epoll_ctl(loop.epoll, EPOLL_CTL_DEL, stream->delivery.outlet.fd, NULL);
    loop.unwatched -= is_polled(stream);
    watch_table_lock(&loop.watches);
    watcher_remove(&loop.watches, &stream->watcher);
    watch_table_unlock(&loop.watches);
    set_due(stream, 0);
    TAILQ_REMOVE(&loop.streams, stream, streams);
    delivery_end(&stream->delivery, whole);
    free(stream);
}

/* ---- a stream's turn ---- */

/* Epoll reports that the client has left and, if the stream waits for it, room. */
static int set_interest(struct stream *stream, int operation)
{
    return epoll_set(operation, stream->delivery.outlet.fd,
                     EPOLLRDHUP | (stream->waits_for_room ? EPOLLOUT : 0U), stream);
}

/* The stream was taken out of the list. */
static void take_turn(struct stream *stream)
{
    int64_t was_sent = stream->delivery.last_sent;
    bool has_waited = stream->waits_for_room;
    enum progress progress = stream->state == STREAM_LEFT ? PROGRESS_CUT : PROGRESS_MORE;
    for (int step = 0; step < CHUNKS && progress == PROGRESS_MORE; step++) {
        progress = delivery_step(&stream->delivery, loop.buffer, CHUNK, loop.stopping);
    }
    stream->waits_for_room = progress == PROGRESS_FULL;
    if (progress == PROGRESS_WHOLE || progress == PROGRESS_CUT ||
        (stream->waits_for_room != has_waited && set_interest(stream, EPOLL_CTL_MOD) < 0)) {
        stream_close(stream, progress == PROGRESS_WHOLE);
        return;
    }
    stream->state = stream->waits_for_room ? STREAM_FULL : STREAM_IDLE;
    if (progress == PROGRESS_LATER) {
        set_due(stream, stream->delivery.due);
    }
    if (progress == PROGRESS_MORE) {
        stream_wake(stream, WAKE_CHANGE); /* after the others */
    }
    if (stream->delivery.last_sent != was_sent) {
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

/* Any thread may read what inotify reports. */
static void wake_watcher(struct watcher *watcher, const struct inotify_event *event)
{
    (void)event;
    const struct stream *stream =
        (struct stream *)(void *)((char *)watcher - offsetof(struct stream, watcher));
    waker_wake(&stream->delivery.source->waker);
}

/* A source may be woken before its stream is here. */
static void wake_woken(struct waker *waker)
{
    const struct stream_source *source =
        (struct stream_source *)(void *)((char *)waker - offsetof(struct stream_source, waker));
    if (source->stream != NULL) {
        stream_wake(source->stream, WAKE_CHANGE);
    }
}

static void read_changes(void)
{
    loop.changed = false;
    loop.last_batch = clock_monotonic_ms();
    watch_table_lock(&loop.watches);
    if (watch_table_read(&loop.watches) < 0) {
        log_line("inotify: %m");
        loop.changed = true; /* with the next batch: epoll reports what is there only once */
    }
    watch_table_unlock(&loop.watches);
}

static void wake_delayed(int64_t now)
{
    struct stream *stream;
    while ((stream = TAILQ_FIRST(&loop.delayed)) != NULL && stream->due <= now) {
        set_due(stream, 0);
        stream_wake(stream, WAKE_CHANGE);
    }
}

static bool is_any(const struct stream *stream)
{
    (void)stream;
    return true;
}

static bool is_told(const struct stream *stream)
{
    return stream->delivery.source->directory < 0;
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
           now - stream->delivery.last_sent >= sse_keepalive_ms()) {
        stream->delivery.last_sent = now;
        TAILQ_REMOVE(&loop.streams, stream, streams);
        TAILQ_INSERT_TAIL(&loop.streams, stream, streams);
        /* Nothing may come between the halves of an event; a full connection is not silent. */
        if (stream->state != STREAM_FULL && delivery_interject(&stream->delivery, SSE_KEEPALIVE)) {
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

/* Before the source looks for the first time, or a change between the two is missed. */
static void watch_source(struct stream *stream)
{
    watch_table_lock(&loop.watches);
    int added = watcher_add(&loop.watches, &stream->watcher, stream->delivery.source->directory,
                            LOG_CHANGES);
    watch_table_unlock(&loop.watches);
    if (added < 0 && loop.unwatched++ == 0) {
        log_at(LOG_WARNING, "a stream's directory cannot be watched and is polled instead: %m");
    }
}

static void add_stream(struct stream *stream)
{
    stream->delivery.last_sent = clock_monotonic_ms();
    stream->delivery.source->stream = stream;
    TAILQ_INSERT_TAIL(&loop.streams, stream, streams);
    if (!is_told(stream)) {
        watch_source(stream);
    }
    if (set_interest(stream, EPOLL_CTL_ADD) < 0) {
        log_request(LOG_ERR, stream->delivery.request_id, "epoll_ctl: %m");
        stream_close(stream, false);
        return;
    }
    stream_wake(stream, WAKE_CHANGE);
}

static void take_arrived(void)
{
    struct ready_list streams = STAILQ_HEAD_INITIALIZER(streams);
    (void)pthread_mutex_lock(&arrived.lock);
    STAILQ_CONCAT(&streams, &arrived.streams);
    bool has_news = arrived.has_news;
    arrived.has_news = false;
    (void)pthread_mutex_unlock(&arrived.lock);
    struct stream *stream;
    while ((stream = STAILQ_FIRST(&streams)) != NULL) {
        STAILQ_REMOVE_HEAD(&streams, ready);
        add_stream(stream);
    }
    if (has_news) {
        wake_streams(is_told);
    }
}

void streams_tell(void)
{
    (void)pthread_mutex_lock(&arrived.lock);
    arrived.has_news = true;
    (void)pthread_mutex_unlock(&arrived.lock);
    wakes_ring();
}

void stream_open(struct request *request, struct stream_source *source, struct admission *admission)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL || delivery_begin(&stream->delivery, request, source, admission) < 0) {
        free(stream);
        waker_forget(&source->waker);
        source->free(source);
        request_abort(request);
        return;
    }
    stream->watcher = (struct watcher){.descriptor = -1, .changed = wake_watcher};
    (void)pthread_mutex_lock(&arrived.lock);
    STAILQ_INSERT_TAIL(&arrived.streams, stream, ready);
    (void)pthread_mutex_unlock(&arrived.lock);
    wakes_ring();
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
        wait = stream->delivery.last_sent + sse_keepalive_ms() - now;
    }
    if (loop.changed && loop.last_batch + BATCH_MS - now < wait) {
        wait = loop.last_batch + BATCH_MS - now;
    }
    if (loop.unwatched > 0 && wait > POLL_MS) {
        wait = POLL_MS;
    }
    stream = TAILQ_FIRST(&loop.delayed);
    if (stream != NULL && stream->due - now < wait) {
        wait = stream->due - now;
    }
    return wait == INT64_MAX ? -1 : wait < 0 ? 0 : (int)wait;
}

/* Their addresses stand for the descriptors that belong to no stream. */
static char changes_mark, stop_mark, wakes_mark;

static void take_event(const struct epoll_event *event)
{
    if (event->data.ptr == &changes_mark) {
        loop.changed = true;
    } else if (event->data.ptr == &stop_mark) {
        begin_to_stop();
    } else if (event->data.ptr != &wakes_mark) {
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
        take_arrived();
        wakes_take(wake_woken);
        wake_delayed(now);
        keep_streams_alive(now);
        take_turns();
    }
}

int streams_start(void)
{
    loop.buffer = malloc(CHUNK);
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop.buffer == NULL || loop.epoll < 0 ||
        epoll_set(EPOLL_CTL_ADD, stopping_fd(), EPOLLIN, &stop_mark) < 0 ||
        epoll_set(EPOLL_CTL_ADD, wakes_open(), EPOLLIN | EPOLLET, &wakes_mark) < 0) {
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

struct watch_table *streams_watches(void)
{
    return &loop.watches;
}

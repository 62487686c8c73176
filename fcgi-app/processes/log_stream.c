/*
 * A stream is a position in a log and a connection: whatever wakes it, it goes on from there until
 * the log has no more or the connection is full. Its bytes go from the log's files through one
 * buffer of the thread; the few events of our own are rendered into the stream.
 */
#include "fcgi-app/processes/log_stream.h"
#include "fcgi-app/http/admission.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/logger.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/outlet.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/processes/log_cursor.h"
#include "fcgi-app/streams/watch.h"
#include "procd/log/event_id.h"
#include "procd/log/job_files.h"

#define STACK_SIZE ((size_t)262144)
#define CHUNK      ((size_t)131072)
#define CHUNKS     4 /* that one stream sends before it is the next one's turn */
#define EVENTS     64
#define TEXT_SIZE  256
#define RETRY                                                                                      \
    "retry: 1000\n" /* how soon a client that lost us comes again, in ms; it is in the             \
                      first event, since some clients make one of it otherwise */
#define BATCH_MS 5  /* logs that grow quickly are passed on in larger pieces: at most this often */
#define POLL_MS  25 /* for streams that cannot be watched: the kernel's limits are reached */

struct log_stream {
    struct outlet outlet;
    struct log_cursor cursor; /* with its directory, owned */
    struct watcher watcher;
    uint64_t until; /* the offset at which it is enough; UINT64_MAX: the end of the job */
    char end_id[EVENT_ID_SIZE];
    struct admission admission;
    char *request_id;
    char text[TEXT_SIZE]; /* an event of our own */
    size_t text_length, text_sent;
    int64_t last_sent; /* ms */
    bool job_ended;    /* the log will not grow any more */
    bool ending;       /* the text is the last event */
    bool full;         /* the connection is */
    bool gone;         /* the client is */
    bool is_ready;
    TAILQ_ENTRY(log_stream) streams; /* by last_sent */
    STAILQ_ENTRY(log_stream) ready;
};

TAILQ_HEAD(stream_list, log_stream);
STAILQ_HEAD(ready_list, log_stream);

/* Other threads hand streams over here. */
static struct {
    pthread_mutex_t lock;
    int fd; /* an eventfd, readable when there are any */
    struct ready_list streams;
} inbox = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .streams = STAILQ_HEAD_INITIALIZER(inbox.streams)};

/* The thread's own. */
static struct {
    int epoll;
    struct watch_table watches;
    struct stream_list streams; /* all, the longest silent first */
    struct ready_list ready;    /* to be gone on with */
    size_t unwatched;           /* streams that must be polled */
    bool changed;               /* inotify has something to read */
    int64_t last_batch;         /* ms */
    bool stopping;
    char *buffer; /* CHUNK bytes */
} loop = {.epoll = -1,
          .streams = TAILQ_HEAD_INITIALIZER(loop.streams),
          .ready = STAILQ_HEAD_INITIALIZER(loop.ready)};

static void make_ready(struct log_stream *stream)
{
    if (!stream->is_ready) {
        stream->is_ready = true;
        STAILQ_INSERT_TAIL(&loop.ready, stream, ready);
    }
}

/* ---- a stream's end ---- */

static void stream_free(struct log_stream *stream)
{
    log_cursor_clear(&stream->cursor);
    close_fd(&stream->cursor.directory);
    admission_leave(&stream->admission);
    free(stream->request_id);
    free(stream);
}

/* Takes it out of the loop. `whole`: the answer has its end, and the connection can serve on. */
static void stream_close(struct log_stream *stream, bool whole)
{
    (void)epoll_ctl(loop.epoll, EPOLL_CTL_DEL, stream->outlet.fd, NULL);
    loop.unwatched -= stream->watcher.watch == NULL;
    watcher_remove(&loop.watches, &stream->watcher);
    TAILQ_REMOVE(&loop.streams, stream, streams);
    outlet_close(&stream->outlet, whole);
    stream_free(stream);
}

/* ---- going on with a stream ---- */

enum progress { PROGRESS_MORE, PROGRESS_WAIT, PROGRESS_WHOLE, PROGRESS_CUT };

/* Puts an event of our own next; there is none at that time. */
__attribute__((format(printf, 2, 3))) static void set_text(struct log_stream *stream,
                                                           const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(stream->text, sizeof(stream->text), format, arguments);
    va_end(arguments);
    stream->text_sent = 0;
    stream->text_length =
        (size_t)length < sizeof(stream->text) ? (size_t)length : sizeof(stream->text) - 1;
}

static void set_last_text(struct log_stream *stream, const char *event)
{
    set_text(stream, "%s", event);
    stream->ending = true;
}

/* Sends; *sent is less than `length` when the connection is full. */
static enum progress send_bytes(struct log_stream *stream, const char *data, size_t length,
                                size_t *sent)
{
    ssize_t count = outlet_send(&stream->outlet, data, length);
    *sent = count < 0 ? 0 : (size_t)count;
    if (count < 0) {
        return PROGRESS_CUT;
    }
    stream->full = *sent < length;
    stream->last_sent = clock_monotonic_ms();
    return stream->full ? PROGRESS_WAIT : PROGRESS_MORE;
}

static enum progress send_text(struct log_stream *stream)
{
    size_t sent;
    enum progress progress = send_bytes(stream, stream->text + stream->text_sent,
                                        stream->text_length - stream->text_sent, &sent);
    stream->text_sent += sent;
    return progress;
}

static enum progress send_end(struct log_stream *stream)
{
    admission_leave(&stream->admission); /* who sees the end may open the next */
    int ended = outlet_end(&stream->outlet);
    stream->full = ended == 0;
    return ended < 0 ? PROGRESS_CUT : ended == 0 ? PROGRESS_WAIT : PROGRESS_WHOLE;
}

/* 1 when there is such a file in the job's directory, 0 when there is none, -1 when that cannot be
 * told: nothing would wake the stream to look again. */
static int has_file(const struct log_stream *stream, const char *name)
{
    struct stat status;
    if (fstatat(stream->cursor.directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        return 1;
    }
    return errno == ENOENT ? 0 : -1;
}

/* 1 when the job has ended with its log whole, or has been forgotten; 0 or -1, as has_file. */
static int look_for_end(const struct log_stream *stream)
{
    struct stat status;
    int ended = has_file(stream, JOB_EXIT_FILE);
    if (ended != 0) {
        return ended;
    }
    return fstat(stream->cursor.directory, &status) < 0 ? -1 : status.st_nlink == 0;
}

/* The log cannot be read. Half an event cannot be followed by another: then the stream is cut. */
static enum progress fail(struct log_stream *stream)
{
    log_request(LOG_ERR, stream->request_id, "/process_logs_streaming: %m");
    if (stream->cursor.offset < stream->cursor.whole) {
        return PROGRESS_CUT;
    }
    set_last_text(stream, "event: error\ndata: {\"error\":\"The log cannot be read\"}\n\n");
    return PROGRESS_MORE;
}

/*
 * The end of what a stream sends that does not follow. While the exit record is being written the
 * job neither runs nor has ended: its socket is gone first.
 */
static enum progress send_enough(struct log_stream *stream)
{
    int ended = look_for_end(stream);
    int runs = ended != 0 ? 0 : has_file(stream, JOB_SOCKET_FILE);
    if (ended < 0 || runs < 0) {
        return fail(stream);
    }
    if (ended == 1) {
        stream->job_ended = true;
        return PROGRESS_MORE; /* it may have written more since, up to its end */
    }
    if (runs == 0) {
        return PROGRESS_WAIT;
    }
    set_last_text(stream,
                  "event: complete\ndata: {\"message\":\"stream ended\",\"running\":true}\n\n");
    return PROGRESS_MORE;
}

/* What is missing, as far as it is known. */
static void set_gap(struct log_stream *stream, const struct log_gap *gap)
{
    char lines[48] = "";
    char next[EVENT_ID_SIZE + 16] = "";
    if (gap->numbered) {
        (void)snprintf(lines, sizeof(lines), ",\"missed_lines\":%llu",
                       (unsigned long long)gap->lines);
    }
    if (gap->next_id[0] != '\0') {
        (void)snprintf(next, sizeof(next), ",\"next_id\":\"%s\"", gap->next_id);
    }
    set_text(stream, "event: gap\ndata: {\"missed_bytes\":%llu%s%s}\n\n",
             (unsigned long long)gap->bytes, lines, next);
    metrics_gap(gap->bytes, gap->numbered ? gap->lines : 0);
}

static enum progress send_log(struct log_stream *stream)
{
    struct log_gap gap;
    size_t sent;
    if (loop.stopping && stream->cursor.offset == stream->cursor.whole) {
        set_last_text(stream, "event: error\ndata: {\"error\":\"The server is stopping\"}\n\n");
        return PROGRESS_MORE;
    }
    if (stream->cursor.offset >= stream->until && stream->cursor.offset == stream->cursor.whole &&
        !stream->job_ended) {
        return send_enough(stream);
    }
    ssize_t count = log_cursor_read(&stream->cursor, loop.buffer, CHUNK, &gap);
    if (count < 0) {
        return fail(stream);
    }
    if (gap.bytes > 0) {
        log_cursor_unread(&stream->cursor, (size_t)count);
        set_gap(stream, &gap);
        return PROGRESS_MORE;
    }
    if (count > 0) {
        enum progress progress = send_bytes(stream, loop.buffer, (size_t)count, &sent);
        log_cursor_unread(&stream->cursor, (size_t)count - sent);
        return progress;
    }
    if (stream->job_ended) {
        set_text(stream, "event: complete\ndata: {\"message\":\"stream ended\"}\nid: %s\n\n",
                 stream->end_id);
        stream->ending = true;
        return PROGRESS_MORE;
    }
    int ended = look_for_end(stream);
    if (ended < 0) {
        return fail(stream);
    }
    stream->job_ended = ended == 1; /* if so, one more look at the log */
    return stream->job_ended ? PROGRESS_MORE : PROGRESS_WAIT;
}

static enum progress step(struct log_stream *stream)
{
    if (stream->text_sent < stream->text_length) {
        return send_text(stream);
    }
    return stream->ending ? send_end(stream) : send_log(stream);
}

/* Wakes the stream when its connection can take more, or no longer does. */
static int set_interest(const struct log_stream *stream, int operation)
{
    struct epoll_event event = {.events = EPOLLRDHUP | (stream->full ? EPOLLOUT : 0U),
                                .data.ptr = (void *)(uintptr_t)stream};
    return epoll_ctl(loop.epoll, operation, stream->outlet.fd, &event);
}

/* Goes on with a stream as far as it can, within its turn. */
static void go_on(struct log_stream *stream)
{
    bool was_full = stream->full;
    int64_t was_sent = stream->last_sent;
    enum progress progress = stream->gone ? PROGRESS_CUT : PROGRESS_MORE;
    for (int turn = 0; turn < CHUNKS && progress == PROGRESS_MORE; turn++) {
        progress = step(stream);
    }
    if (progress == PROGRESS_WHOLE || progress == PROGRESS_CUT ||
        (stream->full != was_full && set_interest(stream, EPOLL_CTL_MOD) < 0)) {
        stream_close(stream, progress == PROGRESS_WHOLE);
        return;
    }
    if (progress == PROGRESS_MORE) {
        make_ready(stream);
    }
    if (stream->last_sent != was_sent) {
        TAILQ_REMOVE(&loop.streams, stream, streams);
        TAILQ_INSERT_TAIL(&loop.streams, stream, streams);
    }
}

/* Every stream that is ready now gets its turn. */
static void go_on_with_ready(void)
{
    struct ready_list ready = STAILQ_HEAD_INITIALIZER(ready);
    STAILQ_CONCAT(&ready, &loop.ready);
    struct log_stream *stream;
    while ((stream = STAILQ_FIRST(&ready)) != NULL) {
        STAILQ_REMOVE_HEAD(&ready, ready);
        stream->is_ready = false;
        go_on(stream);
    }
}

/* ---- what wakes streams ---- */

static void wake_watcher(struct watcher *watcher)
{
    struct log_stream *stream =
        (struct log_stream *)(void *)((char *)watcher - offsetof(struct log_stream, watcher));
    if (!stream->full) { /* otherwise it goes on when the connection has room */
        make_ready(stream);
    }
}

static void read_changes(void)
{
    loop.changed = false;
    loop.last_batch = clock_monotonic_ms();
    if (watch_table_read(&loop.watches, wake_watcher) < 0) {
        log_line("inotify: %m");
        loop.changed = true; /* with the next batch: epoll tells of what is there only once */
    }
}

static void wake_unwatched(void)
{
    struct log_stream *stream;
    TAILQ_FOREACH(stream, &loop.streams, streams)
    {
        if (stream->watcher.watch == NULL) {
            wake_watcher(&stream->watcher);
        }
    }
}

/* A sign of life to those that have been silent for long. */
static void keep_alive(int64_t now)
{
    struct log_stream *stream;
    while ((stream = TAILQ_FIRST(&loop.streams)) != NULL &&
           now - stream->last_sent >= sse_keepalive_ms()) {
        stream->last_sent = now;
        TAILQ_REMOVE(&loop.streams, stream, streams);
        TAILQ_INSERT_TAIL(&loop.streams, stream, streams);
        /* Nothing may come between the halves of an event; a full connection is no silence. */
        if (!stream->full && stream->cursor.offset == stream->cursor.whole &&
            stream->text_sent == stream->text_length && !stream->ending) {
            set_text(stream, SSE_KEEPALIVE);
            make_ready(stream);
        }
    }
}

static void begin_to_stop(void)
{
    struct log_stream *stream;
    loop.stopping = true;
    (void)epoll_ctl(loop.epoll, EPOLL_CTL_DEL, request_stop_fd(), NULL);
    TAILQ_FOREACH(stream, &loop.streams, streams)
    {
        wake_watcher(&stream->watcher);
    }
}

/* ---- new streams ---- */

static void add_stream(struct log_stream *stream)
{
    static bool told;
    stream->last_sent = clock_monotonic_ms();
    TAILQ_INSERT_TAIL(&loop.streams, stream, streams);
    /* Watched before the first look at the log, or a change between the two would be missed. */
    if (watcher_add(&loop.watches, &stream->watcher, stream->cursor.directory) < 0) {
        loop.unwatched++;
        if (!told) {
            log_at(LOG_WARNING, "a log cannot be watched and is polled instead: %m");
            told = true;
        }
    }
    if (set_interest(stream, EPOLL_CTL_ADD) < 0) {
        log_request(LOG_ERR, stream->request_id, "epoll_ctl: %m");
        stream_close(stream, false);
        return;
    }
    make_ready(stream);
}

static void empty_inbox(void)
{
    eventfd_t count;
    struct ready_list streams = STAILQ_HEAD_INITIALIZER(streams);
    (void)eventfd_read(inbox.fd, &count);
    pthread_mutex_lock(&inbox.lock);
    STAILQ_CONCAT(&streams, &inbox.streams);
    pthread_mutex_unlock(&inbox.lock);
    struct log_stream *stream;
    while ((stream = STAILQ_FIRST(&streams)) != NULL) {
        STAILQ_REMOVE_HEAD(&streams, ready);
        add_stream(stream);
    }
}

/* Where the log ends now. 0, or -1 with errno. */
static int find_end(const struct log_cursor *cursor, uint64_t *end)
{
    struct log_cursor newest;
    log_cursor_init(&newest, cursor->directory);
    int found = log_cursor_seek_newest(&newest, 0);
    *end = newest.offset;
    log_cursor_clear(&newest);
    return found;
}

/* The stream of a request; NULL when it cannot be made or the client left. The cursor stays the
 * caller's.
 */
static struct log_stream *stream_new(struct request *request, const char *job_id,
                                     const struct log_cursor *cursor, bool follow)
{
    struct log_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return NULL;
    }
    stream->until = UINT64_MAX;
    if (!follow && find_end(cursor, &stream->until) < 0) {
        free(stream);
        return NULL;
    }
    stream->request_id = strdup(request_id(request));
    if (stream->request_id == NULL || request_detach(request, &stream->outlet) < 0) {
        free(stream->request_id);
        free(stream);
        return NULL;
    }
    stream->cursor = *cursor;
    event_id_render_end(job_id, stream->end_id);
    set_text(stream, RETRY);
    return stream;
}

void log_stream_open(struct request *request, const char *job_id, struct log_cursor *cursor,
                     bool follow, struct admission *admission)
{
    struct log_stream *stream = stream_new(request, job_id, cursor, follow);
    if (stream == NULL) {
        log_cursor_clear(cursor);
        close_fd(&cursor->directory);
        request_abort(request);
        return;
    }
    stream->admission = *admission;
    admission->held = false;
    pthread_mutex_lock(&inbox.lock);
    STAILQ_INSERT_TAIL(&inbox.streams, stream, ready);
    pthread_mutex_unlock(&inbox.lock);
    if (eventfd_write(inbox.fd, 1) < 0) {
        log_line("cannot wake the log streams: %m");
    }
}

/* ---- the thread ---- */

/* How long epoll_wait(2) may wait; -1 for ever. */
static int wait_time(int64_t now)
{
    int64_t wait = INT64_MAX;
    const struct log_stream *stream = TAILQ_FIRST(&loop.streams);
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

/* The descriptors that are no streams are told by their addresses. */
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
        struct log_stream *stream = event->data.ptr;
        stream->gone = (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        make_ready(stream);
    }
}

static int wait_for(int fd, uint32_t events, void *mark)
{
    struct epoll_event event = {.events = events, .data.ptr = mark};
    return epoll_ctl(loop.epoll, EPOLL_CTL_ADD, fd, &event);
}

__attribute__((noreturn)) static void *follow_streams(void *unused)
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
            wake_unwatched();
        }
        keep_alive(now);
        go_on_with_ready();
    }
}

static int make_thread(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error == 0) {
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
        error = pthread_create(&thread, &attributes, follow_streams, NULL);
        (void)pthread_attr_destroy(&attributes);
    }
    errno = error;
    return error == 0 ? 0 : -1;
}

int log_streams_start(void)
{
    loop.buffer = malloc(CHUNK);
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    inbox.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop.buffer == NULL || loop.epoll < 0 || inbox.fd < 0 ||
        wait_for(inbox.fd, EPOLLIN, &inbox_mark) < 0 ||
        wait_for(request_stop_fd(), EPOLLIN, &stop_mark) < 0) {
        return -1;
    }
    /* Edge-triggered: it is read when a batch is due, not when epoll_wait(2) finds it. */
    if (watch_table_init(&loop.watches, JOB_POSITION_FILE) < 0 ||
        wait_for(loop.watches.fd, EPOLLIN | EPOLLET, &changes_mark) < 0) {
        log_line("logs cannot be watched and are polled instead: %m");
        watch_table_clear(&loop.watches);
    }
    return make_thread();
}

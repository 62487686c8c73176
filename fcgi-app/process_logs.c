/*
 * GET /process_logs_streaming: a cursor in the job's log, which is written as the events that the
 * client gets. The thread sleeps until the log grows, the client leaves or the server stops.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "fcgi-app/command.h"
#include "fcgi-app/endpoint.h"
#include "fcgi-app/log_cursor.h"
#include "fcgi-app/query.h"
#include "fcgi-app/request.h"
#include "fcgi-app/sse.h"
#include "fcgi-app/watch.h"
#include "procd/client.h"
#include "procd/job_files.h"

#define CHUNK ((size_t)65536)

/* A log that grows quickly is passed on in larger pieces: at most one every so often. */
#define BATCH_MS 5

/* The buffer is given back after this much silence: there may be thousands of idle streams. */
#define IDLE_MS 100

struct follower {
    struct request *request;
    int directory;
    struct watcher watcher;
    struct log_cursor cursor;
    char *buffer;      /* CHUNK bytes, or NULL */
    int64_t last_sent; /* ms */
};

static void follower_clear(struct follower *follower)
{
    watcher_close(&follower->watcher);
    log_cursor_clear(&follower->cursor);
    free(follower->buffer);
    close_fd(&follower->directory);
}
#define cleanup_follower cleanup_(follower_clear)

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- sending ---- */

static int send_gap(struct request *request, uint64_t missed)
{
    cJSON *data = cJSON_CreateObject();
    if (cJSON_AddNumberToObject(data, "missed_bytes", (double)missed) == NULL) {
        cJSON_Delete(data);
        data = NULL;
    }
    return sse_event(request, "gap", data);
}

static void send_complete(struct request *request)
{
    cJSON *data = cJSON_CreateObject();
    if (cJSON_AddStringToObject(data, "message", "stream ended") == NULL) {
        cJSON_Delete(data);
        data = NULL;
    }
    (void)sse_event(request, "complete", data);
}

/* Tells of trouble, unless half an event is out: then the stream can only be cut. */
static int fail(struct follower *follower)
{
    log_request(request_id(follower->request), "/process_logs_streaming: %m");
    if (follower->cursor.offset < follower->cursor.whole) {
        request_abort(follower->request);
    } else {
        (void)sse_error(follower->request, "cannot read the log: %s", strerror(errno));
    }
    return -1;
}

/* Sends all whole events there are. 0, or -1 when the stream is over. */
static int send_events(struct follower *follower)
{
    if (follower->buffer == NULL && (follower->buffer = malloc(CHUNK)) == NULL) {
        return fail(follower);
    }
    for (;;) {
        uint64_t missed;
        ssize_t count = log_cursor_read(&follower->cursor, follower->buffer, CHUNK, &missed);
        if (count < 0) {
            return fail(follower);
        }
        if (missed > 0 && send_gap(follower->request, missed) < 0) {
            return -1;
        }
        if (count == 0) {
            return request_flush(follower->request);
        }
        if (request_write(follower->request, follower->buffer, (size_t)count) < 0) {
            return -1;
        }
        follower->last_sent = now_ms();
    }
}

/* ---- waiting ---- */

/* Whether the job has ended with its log whole, or has been forgotten. */
static bool job_ended(const struct follower *follower)
{
    struct stat status;
    if (fstatat(follower->directory, JOB_EXIT_FILE, &status, 0) == 0) {
        return true;
    }
    return fstat(follower->directory, &status) == 0 && status.st_nlink == 0;
}

enum wake { WAKE_CHANGED, WAKE_TIMEOUT, WAKE_OVER };

/* Waits for the client, the server's stop and, if `changes`, the log. */
static enum wake wait_for(const struct follower *follower, bool changes, int64_t timeout_ms)
{
    struct pollfd polled[] = {
        {.fd = request_fd(follower->request), .events = POLLRDHUP},
        {.fd = request_stop_fd(), .events = POLLIN},
        {.fd = changes ? follower->watcher.fd : -1, .events = POLLIN},
    };
    int ready = poll(polled, 3, timeout_ms < 0 ? 0 : (int)timeout_ms);
    if (ready < 0 || polled[0].revents != 0) {
        return WAKE_OVER;
    }
    if (polled[1].revents != 0) {
        (void)sse_error(follower->request, "server is stopping");
        return WAKE_OVER;
    }
    return ready > 0 ? WAKE_CHANGED : WAKE_TIMEOUT;
}

/* Sleeps until the log may have grown. 0, or -1 when the stream is over. */
static int wait_for_change(struct follower *follower)
{
    for (;;) {
        int64_t silent = now_ms() - follower->last_sent;
        if (silent >= SSE_KEEPALIVE_MS) {
            if (sse_keepalive(follower->request) < 0) {
                return -1;
            }
            follower->last_sent = now_ms();
            silent = 0;
        }
        if (silent >= IDLE_MS) {
            free(steal_pointer(follower->buffer));
        }
        int64_t timeout = (silent < IDLE_MS ? IDLE_MS : SSE_KEEPALIVE_MS) - silent;
        bool polling = follower->watcher.polling;
        enum wake wake =
            wait_for(follower, true, polling && timeout > WATCH_POLL_MS ? WATCH_POLL_MS : timeout);
        if (wake != WAKE_TIMEOUT || polling) {
            return wake == WAKE_OVER ? -1 : 0;
        }
    }
}

/* Lets more come together when something was sent just now. 0, or -1 when the stream is over. */
static int wait_for_batch(const struct follower *follower)
{
    int64_t since = now_ms() - follower->last_sent;
    if (since >= BATCH_MS) {
        return 0;
    }
    return wait_for(follower, false, BATCH_MS - since) == WAKE_OVER ? -1 : 0;
}

static void follow(struct follower *follower)
{
    for (;;) {
        watcher_rearm(&follower->watcher);
        bool ended = job_ended(follower); /* before the last look at the log, not after */
        if (send_events(follower) < 0) {
            return;
        }
        if (ended) {
            send_complete(follower->request);
            return;
        }
        if (wait_for_change(follower) < 0 || wait_for_batch(follower) < 0) {
            return;
        }
    }
}

/* ---- the endpoint ---- */

/* Where the stream begins: after the last event the client has seen, if it says so and it is known.
 */
static int seek(struct follower *follower)
{
    const char *last = request_last_event_id(follower->request);
    char *end;
    errno = 0;
    unsigned long long event = strtoull(last, &end, 10);
    if (*last >= '0' && *last <= '9' && *end == '\0' && errno == 0) {
        int found = log_cursor_seek_after(&follower->cursor, event);
        if (found <= 0) {
            return found;
        }
        log_cursor_clear(&follower->cursor);
        log_cursor_init(&follower->cursor, follower->directory);
    }
    return log_cursor_seek_newest(&follower->cursor, JOB_HISTORY_LINES);
}

/* Takes the directory over. */
static void stream_log(struct request *request, int directory)
{
    if (sse_begin(request) < 0 || strcmp(request_method(request), "HEAD") == 0) {
        close_fd(&directory);
        return;
    }
    cleanup_follower struct follower follower = {
        .request = request, .directory = directory, .last_sent = now_ms()};
    watcher_open(&follower.watcher, directory); /* before the first look, or a change is missed */
    log_cursor_init(&follower.cursor, directory);
    if (seek(&follower) < 0) {
        (void)fail(&follower);
        return;
    }
    follow(&follower);
}

static void process_logs_streaming(struct request *request)
{
    cleanup_free char *id = query_value(request_query(request), "id");
    int directory = -1;
    if (id == NULL || *id == '\0') {
        answer_error(request, 400, "Process ID is required");
        return;
    }
    enum procd_result result = procd_open_job(id, &directory);
    if (result == PROCD_DONE) {
        stream_log(request, directory);
    } else if (result == PROCD_NOT_FOUND) {
        if (sse_begin(request) == 0) {
            (void)sse_error(request, "process not found: %s", id);
        }
    } else {
        answer_procd_failure(request, result);
    }
}

const struct endpoint process_logs_streaming_endpoint = {"/process_logs_streaming", METHOD_GET,
                                                         process_logs_streaming};

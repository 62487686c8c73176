/*
 * GET /process_logs_streaming: finds the log and where the stream begins in it; the rest is
 * log_stream.c's.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/query.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/processes/log_cursor.h"
#include "fcgi-app/processes/log_stream.h"
#include "procd/log/event_id.h"
#include "procd/log/job_files.h"
#include "procd/wire/client.h"

/* What a client asks for, beside the process. */
struct wish {
    const char *cursor_name; /* where the id of the last event it has seen is from; NULL: nowhere */
    struct event_id cursor;
    uint64_t tail; /* without that: so many of the newest lines */
    bool follow;
};

/* ---- reading the wish: each answers what is wrong and returns false ---- */

static bool read_parameter(struct request *request, const char *name, char **value)
{
    if (query_value(request_query(request), name, value) < 0) {
        answer_error(request, 500, "Out of memory");
        return false;
    }
    return true;
}

static bool read_cursor(struct request *request, struct wish *wish)
{
    const char *last = request_last_event_id(request);
    const char *query = request_query(request);
    cleanup_free char *parameter = NULL;
    if (*last != '\0') { /* first: an EventSource that comes again keeps its URL */
        wish->cursor_name = "Last-Event-ID";
    } else if (query_has(query, "cursor")) {
        wish->cursor_name = "cursor";
        if (!read_parameter(request, "cursor", &parameter)) {
            return false;
        }
        last = parameter;
    }
    if (wish->cursor_name != NULL &&
        (last == NULL || !event_id_parse(last, strlen(last), &wish->cursor))) {
        answer_error(request, 400, "Invalid %s: it is no event id", wish->cursor_name);
        return false;
    }
    return true;
}

/*
 * Answers a client that comes back from the end of a stream, whatever has become of the process:
 * an EventSource asks again until it is told 204. False when the client is no such.
 */
static bool answer_after_end(struct request *request)
{
    const char *last = request_last_event_id(request);
    cleanup_free char *parameter = NULL;
    if (*last == '\0') {
        if (!read_parameter(request, "cursor", &parameter)) {
            return true;
        }
        last = parameter;
    }
    if (last == NULL || !event_id_is_end(last)) {
        return false;
    }
    (void)request_begin(request, 204, NULL, "Cache-Control: no-cache\r\n");
    return true;
}

static bool read_tail(struct request *request, struct wish *wish)
{
    const char *query = request_query(request);
    wish->tail = JOB_HISTORY_LINES;
    if (!query_has(query, "tail")) {
        return true;
    }
    if (query_has(query, "cursor")) {
        answer_error(request, 400, "cursor and tail exclude each other");
        return false;
    }
    cleanup_free char *tail = NULL;
    if (!read_parameter(request, "tail", &tail)) {
        return false;
    }
    if (tail == NULL || tail[strspn(tail, "0123456789")] != '\0') {
        answer_error(request, 400, "Invalid tail: it must be a number of lines");
        return false;
    }
    wish->tail = strtoull(tail, NULL, 10); /* the largest there is when it is too large */
    return true;
}

static bool read_follow(struct request *request, struct wish *wish)
{
    return answer_flag(request, "follow", true, &wish->follow);
}

static bool read_wish(struct request *request, struct wish *wish)
{
    *wish = (struct wish){0};
    return read_tail(request, wish) && read_cursor(request, wish) && read_follow(request, wish);
}

/* ---- the stream ---- */

/* Puts the cursor where the stream begins. NULL; or what is wrong with the client's; or "" with
 * errno when the log cannot be read. */
static const char *seek(struct log_cursor *cursor, const char *id, const struct wish *wish)
{
    if (wish->cursor_name == NULL) {
        return log_cursor_seek_newest(cursor, wish->tail) < 0 ? "" : NULL;
    }
    if (!event_id_is_of(&wish->cursor, id)) {
        return "it belongs to another process";
    }
    switch (log_cursor_seek_after(cursor, &wish->cursor)) {
    case LOG_SEEK_DONE:
        return NULL;
    case LOG_SEEK_AHEAD:
        return "it is ahead of the log";
    case LOG_SEEK_UNKNOWN:
        return "no event of the log has this id";
    case LOG_SEEK_FAILED:
        break;
    }
    return "";
}

/* Takes the directory over. */
static void stream_log(struct request *request, const char *id, const struct wish *wish,
                       int directory, struct admission *admission)
{
    struct log_cursor cursor;
    log_cursor_init(&cursor, directory);
    const char *wrong = seek(&cursor, id, wish);
    int error = errno;
    if (wrong != NULL && *wrong != '\0') {
        answer_error(request, 400, "Invalid %s: %s", wish->cursor_name, wrong);
    } else if (sse_begin(request) == 0 && strcmp(request_method(request), "HEAD") != 0) {
        if (wrong == NULL) {
            log_stream_open(request, id, &cursor, wish->follow, admission);
            return;
        }
        errno = error;
        log_request(LOG_ERR, request_id(request), "/process_logs_streaming: %m");
        (void)sse_error(request, SSE_NO_ID, "The log cannot be read");
    }
    log_cursor_clear(&cursor);
    close_fd(&directory);
}

/* Coming back does not mend that there is no such process: an EventSource must not. */
static void send_not_found(struct request *request, const char *id)
{
    char end_id[EVENT_ID_SIZE];
    event_id_render_end(id, end_id);
    if (sse_begin(request) == 0) {
        (void)sse_final_error(request, end_id, "process not found: %s", id);
    }
}

static void process_logs_streaming(struct request *request)
{
    if (answer_after_end(request) || !request_may_last(request)) {
        return;
    }
    struct wish wish;
    cleanup_free char *id = NULL;
    int directory = -1;
    if (!read_parameter(request, "id", &id)) {
        return;
    }
    if (id == NULL || *id == '\0') {
        answer_error(request, 400, "Process ID is required");
        return;
    }
    if (!read_wish(request, &wish)) {
        return;
    }
    cleanup_(admission_leave) struct admission admission = {0};
    if (!admission_enter(&admission, ADMISSION_STREAM, request)) {
        return;
    }
    enum procd_result result = procd_open_job(id, &directory);
    if (result == PROCD_DONE) {
        stream_log(request, id, &wish, directory, &admission);
    } else if (result == PROCD_NOT_FOUND) {
        send_not_found(request, id);
    } else {
        answer_procd_failure(request, result);
    }
}

const struct endpoint process_logs_streaming_endpoint = {API_ROW(process_logs_streaming),
                                                         .handle = process_logs_streaming};

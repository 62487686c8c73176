/*
 * GET /process_logs_streaming: finds the log and the place in it where the stream begins. Then
 * log_stream.c takes over.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/logger.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/processes/log_cursor.h"
#include "fcgi-app/processes/log_stream.h"
#include "fcgi-app/processes/process_id.h"
#include "procd/log/event_id.h"
#include "procd/log/job_files.h"
#include "procd/wire/client.h"

/* What a client asks for, beside the process. */
struct log_query {
    const char *cursor_name; /* where `cursor` is from; NULL: there is none */
    struct event_id cursor;  /* the last event that the client has seen */
    uint64_t tail;           /* without a cursor: so many of the newest lines */
    bool follow;
};

/* The id of the last event that the client has, and where it is from. Last-Event-ID comes first: an
 * EventSource that comes again keeps its URL. NULL: there is none. */
static const char *last_event(const struct request *request, const struct json_body *query,
                              const char **name)
{
    const char *last = request_param(request, "HTTP_LAST_EVENT_ID");
    if (*last != '\0') {
        *name = "Last-Event-ID";
        return last;
    }
    last = json_text(query, "cursor");
    *name = last == NULL ? NULL : "cursor";
    return last;
}

/* 0, or -1 when the request has been answered. */
static int read_query(struct request *request, const struct json_body *parameters, const char *last,
                      struct log_query *query)
{
    const char *tail = json_text(parameters, "tail");
    query->tail =
        tail == NULL ? JOB_HISTORY_LINES : strtoull(tail, NULL, 10); /* at most the largest */
    query->follow = !json_is_given(parameters, "follow") || json_flag(parameters, "follow");
    if (tail != NULL && json_is_given(parameters, "cursor")) {
        answer_error(request, 400, ERROR_invalid_request, "cursor and tail exclude each other");
    } else if (tail != NULL && tail[strspn(tail, "0123456789")] != '\0') {
        answer_error(request, 400, ERROR_invalid_request,
                     "Invalid tail: it must be a number of lines");
    } else if (last != NULL && !event_id_parse(last, strlen(last), &query->cursor)) {
        answer_error(request, 400, ERROR_invalid_request, "Invalid %s: it is not an event id",
                     query->cursor_name);
    } else {
        return 0;
    }
    return -1;
}

/* ---- the stream ---- */

/* Moves the cursor to where the stream begins. */
static enum log_seek seek(struct log_cursor *cursor, const char *id, const struct log_query *query)
{
    if (query->cursor_name == NULL) {
        return log_cursor_seek_newest(cursor, query->tail) < 0 ? LOG_SEEK_FAILED : LOG_SEEK_DONE;
    }
    return event_id_is_of(&query->cursor, id) ? log_cursor_seek_after(cursor, &query->cursor)
                                              : LOG_SEEK_FOREIGN;
}

/* Takes the directory over. */
static void stream_log(struct request *request, const char *id, const struct log_query *query,
                       int directory, struct admission *admission)
{
    static const char *const faults[] = {
        [LOG_SEEK_FOREIGN] = "it belongs to another process",
        [LOG_SEEK_AHEAD] = "it is ahead of the log",
        [LOG_SEEK_UNKNOWN] = "no event of the log has this id",
    };
    struct log_cursor cursor;
    log_cursor_init(&cursor, directory);
    enum log_seek found = seek(&cursor, id, query);
    int error = errno;
    if (found != LOG_SEEK_DONE && found != LOG_SEEK_FAILED) {
        answer_error(request, 400, ERROR_invalid_request, "Invalid %s: %s", query->cursor_name,
                     faults[found]);
    } else if (sse_begin(request) == 0 && strcmp(request_method(request), "HEAD") != 0) {
        if (found == LOG_SEEK_DONE) {
            log_stream_open(request, id, &cursor, query->follow, admission);
            return;
        }
        errno = error;
        log_request(LOG_ERR, request_id(request), "/process_logs_streaming: %m");
        (void)sse_error(request, NULL, ERROR_internal, "The log cannot be read");
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
        (void)sse_error(request, end_id, ERROR_not_found, "process not found: %s", id);
    }
}

/* A terminal puts out bytes, not lines. */
static void send_not_lines(struct request *request, const char *id)
{
    char end_id[EVENT_ID_SIZE];
    event_id_render_end(id, end_id);
    if (sse_begin(request) == 0) {
        (void)sse_error(request, end_id, ERROR_unsupported,
                        "process has a terminal, whose output is no row of lines: see /attach");
    }
}

/* A client comes back from the end of a stream: an EventSource asks again until it gets a 204,
 * whatever has become of the process, and however busy the server is. */
static void answer_end(struct request *request)
{
    (void)request_begin(request, 204, NULL, "Cache-Control: no-cache\r\n");
}

static bool answer_after_end(struct request *request)
{
    const char *last = request_param(request, "HTTP_LAST_EVENT_ID");
    bool is_end = event_id_is_end(last);
    if (is_end) {
        answer_end(request);
    }
    return is_end;
}

static void process_logs_streaming(struct request *request, const struct json_body *parameters)
{
    struct log_query query = {.cursor_name = NULL};
    const char *last = last_event(request, parameters, &query.cursor_name);
    const char *id = json_text(parameters, "id");
    if (last != NULL && event_id_is_end(last)) {
        answer_end(request);
        return;
    }
    if (read_query(request, parameters, last, &query) < 0) {
        return;
    }
    cleanup_(admission_leave) struct admission admission = {0};
    if (!admission_enter(&admission, ADMISSION_STREAM, request)) {
        return;
    }
    int directory = -1;
    enum procd_result result = procd_open_job(id, &directory);
    if (result == PROCD_DONE && directory_has(directory, JOB_SIZE_FILE)) {
        close_fd(&directory);
        send_not_lines(request, id);
    } else if (result == PROCD_DONE) {
        stream_log(request, id, &query, directory, &admission);
    } else if (result == PROCD_NOT_FOUND) {
        send_not_found(request, id);
    } else {
        answer_procd_failure(request, result);
    }
}

static const struct json_member log_parameters[] = {
    PROCESS_ID_MEMBER,
    {JSON_MEMBER("cursor", TEXT, "The id of the last event that the client has.")},
    {JSON_MEMBER("tail", TEXT, "How many of the newest lines come first.")},
    {JSON_MEMBER("follow", FLAG, "Whether new lines are sent as they come: yes.")},
};
const struct endpoint process_logs_streaming_endpoint = {
    API_ROW(process_logs_streaming),  .about = "Streams the log of a process.",
    MEMBERS(log_parameters),          .answer_early = answer_after_end,
    .handle = process_logs_streaming,
};

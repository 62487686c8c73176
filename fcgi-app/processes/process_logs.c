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
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/processes/log_cursor.h"
#include "fcgi-app/processes/log_stream.h"
#include "procd/log/event_id.h"
#include "procd/log/job_files.h"
#include "procd/wire/client.h"

/* What a client asks for, beside the process. */
struct wish {
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
    const char *last = request_last_event_id(request);
    if (*last != '\0') {
        *name = "Last-Event-ID";
        return last;
    }
    last = json_text(query, "cursor");
    *name = last == NULL ? NULL : "cursor";
    return last;
}

/* 0, or -1 when the request has been answered. */
static int read_wish(struct request *request, const struct json_body *query, const char *last,
                     struct wish *wish)
{
    const char *tail = json_text(query, "tail");
    const char *fault = NULL;
    wish->tail =
        tail == NULL ? JOB_HISTORY_LINES : strtoull(tail, NULL, 10); /* at most the largest */
    wish->follow = !json_is_given(query, "follow") || json_flag(query, "follow");
    if (tail != NULL && json_is_given(query, "cursor")) {
        fault = "cursor and tail exclude each other";
    } else if (tail != NULL && tail[strspn(tail, "0123456789")] != '\0') {
        fault = "Invalid tail: it must be a number of lines";
    }
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return -1;
    }
    if (last != NULL && !event_id_parse(last, strlen(last), &wish->cursor)) {
        answer_error(request, 400, ERROR_invalid_request, "Invalid %s: it is no event id",
                     wish->cursor_name);
        return -1;
    }
    return 0;
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
        answer_error(request, 400, ERROR_invalid_request, "Invalid %s: %s", wish->cursor_name,
                     wrong);
    } else if (sse_begin(request) == 0 && strcmp(request_method(request), "HEAD") != 0) {
        if (wrong == NULL) {
            log_stream_open(request, id, &cursor, wish->follow, admission);
            return;
        }
        errno = error;
        log_request(LOG_ERR, request_id(request), "/process_logs_streaming: %m");
        (void)sse_error(request, SSE_NO_ID, ERROR_internal, "The log cannot be read");
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
        (void)sse_final_error(request, end_id, ERROR_not_found, "process not found: %s", id);
    }
}

static void process_logs_streaming(struct request *request, const struct json_body *query)
{
    struct wish wish = {.cursor_name = NULL};
    const char *last = last_event(request, query, &wish.cursor_name);
    const char *id = json_text(query, "id");
    if (last != NULL && event_id_is_end(last)) {
        /* The client comes back from the end of a stream: an EventSource asks again until it gets a
         * 204, whatever has become of the process. */
        (void)request_begin(request, 204, NULL, "Cache-Control: no-cache\r\n");
        return;
    }
    if (read_wish(request, query, last, &wish) < 0) {
        return;
    }
    cleanup_(admission_leave) struct admission admission = {0};
    if (!admission_enter(&admission, ADMISSION_STREAM, request)) {
        return;
    }
    int directory = -1;
    enum procd_result result = procd_open_job(id, &directory);
    if (result == PROCD_DONE) {
        stream_log(request, id, &wish, directory, &admission);
    } else if (result == PROCD_NOT_FOUND) {
        send_not_found(request, id);
    } else {
        answer_procd_failure(request, result);
    }
}

static const struct json_member log_parameters[] = {
    {.name = "id",
     .kind = JSON_TEXT,
     .required = true,
     .missing = "Process ID is required",
     .about = "The process."},
    {.name = "cursor", .kind = JSON_TEXT, .about = "The id of the last event that the client has."},
    {.name = "tail", .kind = JSON_TEXT, .about = "How many of the newest lines come first."},
    {.name = "follow", .kind = JSON_FLAG, .about = "Whether new lines are sent as they come: yes."},
};
const struct endpoint process_logs_streaming_endpoint = {
    API_ROW(process_logs_streaming),
    .about = "Streams the log of a process.",
    MEMBERS(log_parameters),
    .handle = process_logs_streaming,
};

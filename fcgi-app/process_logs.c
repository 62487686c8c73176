/*
 * GET /process_logs_streaming: finds the log and where the stream begins in it; the rest is
 * log_stream.c's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "fcgi-app/command.h"
#include "fcgi-app/endpoint.h"
#include "fcgi-app/log_cursor.h"
#include "fcgi-app/log_stream.h"
#include "fcgi-app/query.h"
#include "fcgi-app/request.h"
#include "fcgi-app/sse.h"
#include "procd/client.h"
#include "procd/job_files.h"

/* Where the stream begins: after the last event the client has seen, if it says so and it is known.
 */
static int seek(const struct request *request, struct log_cursor *cursor)
{
    const char *last = request_last_event_id(request);
    char *end;
    errno = 0;
    unsigned long long event = strtoull(last, &end, 10);
    if (*last >= '0' && *last <= '9' && *end == '\0' && errno == 0) {
        int found = log_cursor_seek_after(cursor, event);
        if (found <= 0) {
            return found;
        }
        log_cursor_clear(cursor);
        log_cursor_init(cursor, cursor->directory);
    }
    return log_cursor_seek_newest(cursor, JOB_HISTORY_LINES);
}

/* Takes the directory over. */
static void stream_log(struct request *request, int directory)
{
    struct log_cursor cursor;
    log_cursor_init(&cursor, directory);
    bool wanted = sse_begin(request) == 0 && strcmp(request_method(request), "HEAD") != 0;
    if (wanted && seek(request, &cursor) == 0) {
        log_stream_open(request, &cursor);
        return;
    }
    if (wanted) {
        log_request(request_id(request), "/process_logs_streaming: %m");
        (void)sse_error(request, "The log cannot be read");
    }
    log_cursor_clear(&cursor);
    close_fd(&directory);
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

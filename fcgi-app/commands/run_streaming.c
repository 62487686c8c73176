/*
 * POST /run_streaming: an event for each line of output. A line is sent when it is whole, since two
 * streams share the connection; one that grows large waits in a spool.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/line_reader.h"
#include "common/logger.h"
#include "common/signal_name.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/commands/pump.h"
#include "fcgi-app/commands/run.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/http/writer.h"

#define EVENT_BUFFER ((size_t)524288)
#define LINE_MEMORY  ((size_t)65536)

struct streaming {
    struct request *request;
    struct writer writer;
    struct line_reader lines[2]; /* by enum pump_stream */
    enum pump_stream current;    /* whose line it is */
    int64_t next_id;             /* the number of the next event */
    int error;                   /* errno of what failed here; 0 when it was the client that left */
    bool torn;                   /* half an event is out */
};

static void streaming_clear(struct streaming *streaming)
{
    writer_clear(&streaming->writer);
    line_reader_clear(&streaming->lines[PUMP_STDOUT]);
    line_reader_clear(&streaming->lines[PUMP_STDERR]);
}
#define cleanup_streaming cleanup_(streaming_clear)

static int take_line(void *context, const struct line *line)
{
    struct streaming *streaming = context;
    const char *name = streaming->current == PUMP_STDOUT ? "stdout" : "stderr";
    int written = sse_output(&streaming->writer, streaming->next_id++, name, line);
    if (written == -2) {
        streaming->error = errno;
        streaming->torn = true;
    }
    return written < 0 ? 1 : 0;
}

/* What line_reader_feed() and line_reader_end() returned: 1 is take_line's, -1 the reader's own. */
static int check(struct streaming *streaming, int result)
{
    if (result == -1) {
        streaming->error = errno;
    }
    return result == 0 ? 0 : -1;
}

static int take_output(void *context, enum pump_stream stream, const char *data, size_t length)
{
    struct streaming *streaming = context;
    streaming->current = stream;
    return check(streaming,
                 line_reader_feed(&streaming->lines[stream], data, length, take_line, streaming));
}

static int flush(void *context)
{
    struct streaming *streaming = context;
    if (streaming->writer.used == 0) {
        return 0;
    }
    return writer_flush(&streaming->writer) < 0 ? -1 : 1;
}

static int keep_alive(void *context)
{
    const struct streaming *streaming = context;
    return sse_keepalive(streaming->request);
}

static int end_lines(struct streaming *streaming)
{
    /* The line that was written to last ends last. */
    enum pump_stream last = streaming->current;
    const enum pump_stream streams[] = {last == PUMP_STDOUT ? PUMP_STDERR : PUMP_STDOUT, last};
    for (int i = 0; i < 2; i++) {
        enum pump_stream stream = streams[i];
        streaming->current = stream;
        if (check(streaming, line_reader_end(&streaming->lines[stream], take_line, streaming)) <
            0) {
            return -1;
        }
    }
    return flush(streaming) < 0 ? -1 : 0;
}

static void send_complete(struct streaming *streaming, const struct ending *ending)
{
    char name[SIGNAL_NAME_SIZE];
    cJSON *data = cJSON_CreateObject();
    if (cJSON_AddNumberToObject(data, "code", ending->code) == NULL ||
        cJSON_AddBoolToObject(data, "error", ending->code != 0) == NULL ||
        (ending->signal != 0 &&
         cJSON_AddStringToObject(data, "signal", signal_name(ending->signal, name)) == NULL) ||
        cJSON_AddStringToObject(data, "reason", end_reason_name(ending->reason)) == NULL ||
        cJSON_AddNumberToObject(data, "duration_ms", (double)ending->duration_ms) == NULL ||
        cJSON_AddNumberToObject(data, "max_rss_kb", (double)ending->max_rss_kb) == NULL) {
        cJSON_Delete(data);
        data = NULL;
    }
    (void)sse_event(streaming->request, streaming->next_id, "complete", data);
}

/* The trouble is ours. After half an event the stream can only be cut. */
static void fail(struct streaming *streaming, const char *message)
{
    log_request(request_stopping() ? LOG_NOTICE : LOG_ERR, request_id(streaming->request),
                "/run_streaming: %s", message);
    if (streaming->torn) {
        request_abort(streaming->request);
    } else if (flush(streaming) >= 0) {
        (void)sse_error(streaming->request, streaming->next_id, "%s", message);
    }
}

static void finish(struct streaming *streaming, const struct ending *ending)
{
    if (end_lines(streaming) < 0) {
        if (streaming->error != 0) {
            fail(streaming, error_text(streaming->error));
        }
    } else if (ending->lost) {
        fail(streaming, RUN_LOST);
    } else {
        send_complete(streaming, ending);
    }
}

static void stream_foreground(struct streaming *streaming, struct foreground *foreground)
{
    static const struct pump_sink sink = {
        .data = take_output, .rest = flush, .silence = keep_alive};
    struct ending ending = {.lost = true};
    enum pump_result result = pump_run(foreground, streaming->request, &sink, streaming, &ending);
    const char *failure = pump_failure(result, streaming->error);
    command_log_end(streaming->request, result, &ending);
    if (result == PUMP_ENDED) {
        finish(streaming, &ending);
    } else if (failure != NULL) {
        fail(streaming, failure);
    }
}

static void run_streaming(struct request *request)
{
    struct command command;
    if (!request_may_last(request)) {
        return;
    }
    cleanup_(json_freep) struct json_body *body =
        command_read(request, COMMAND_FOREGROUND, &command);
    if (body == NULL) {
        return;
    }
    cleanup_fd int input = command.input;
    cleanup_(admission_leave) struct admission admission = {0};
    if (!admission_enter(&admission, ADMISSION_RUN, request)) {
        return;
    }
    command.ordered = true;
    cleanup_streaming struct streaming streaming = {.request = request};
    line_reader_init(&streaming.lines[PUMP_STDOUT], spools_directory(), LINE_MEMORY);
    line_reader_init(&streaming.lines[PUMP_STDERR], spools_directory(), LINE_MEMORY);
    if (writer_init(&streaming.writer, request, EVENT_BUFFER, true) < 0) {
        answer_error(request, 500, "Out of memory");
        return;
    }
    cleanup_(foreground_end) struct foreground foreground = FOREGROUND_NONE;
    struct spawn_error error;
    enum procd_result result = procd_run(&command, &foreground, &error);
    close_fd(&input);
    if (result != PROCD_DONE) {
        answer_command_failure(request, &command, result, &error, true);
        return;
    }
    if (sse_begin(request) == 0) {
        stream_foreground(&streaming, &foreground);
    }
}

const struct endpoint run_streaming_endpoint = {API_ROW(run_streaming), .handle = run_streaming};

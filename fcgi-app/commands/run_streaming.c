/*
 * POST /run_streaming: an event for each line of output. A line is sent when it is whole, since two
 * streams share the connection; one that grows large waits in a spool.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/decimal.h"
#include "common/error_text.h"
#include "common/line_reader.h"
#include "common/signal_name.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/commands/foreground.h"
#include "fcgi-app/commands/partial_lines.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/http/stopping.h"
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

static int streaming_take_output(void *context, enum pump_stream stream, const char *data,
                                 size_t length)
{
    struct streaming *streaming = context;
    streaming->current = stream;
    return check(streaming,
                 line_reader_feed(&streaming->lines[stream], data, length, take_line, streaming));
}

/* Passes on the unfinished lines that have waited long enough. */
static int serve_lines(struct streaming *streaming)
{
    int result = 0;
    enum pump_stream last = streaming->current;
    for (int i = 0; i < 2 && result == 0; i++) {
        streaming->current = (enum pump_stream)i;
        result = check(streaming, line_reader_serve(&streaming->lines[i], take_line, streaming));
    }
    streaming->current = last;
    return result;
}

static int64_t streaming_due(const void *context)
{
    const struct streaming *streaming = context;
    int64_t due_ms = INT64_MAX;
    for (int i = 0; i < 2; i++) {
        int64_t one = streaming->lines[i].due_ms;
        due_ms = one != LINE_NEVER_DUE && one < due_ms ? one : due_ms;
    }
    return due_ms;
}

static int flush(void *context)
{
    struct streaming *streaming = context;
    if (streaming_due(streaming) != INT64_MAX && serve_lines(streaming) < 0) {
        return -1;
    }
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

/* The id of an event that may be the last. */
static const char *render_id(const struct streaming *streaming, char text[static DECIMAL_MAX + 1])
{
    text[decimal_render(text, (uint64_t)streaming->next_id)] = '\0';
    return text;
}

static void send_complete(struct streaming *streaming, const struct ending *ending)
{
    char id[DECIMAL_MAX + 1], name[SIGNAL_NAME_SIZE];
    const char *signal = ending->signal == 0 ? NULL : signal_name(ending->signal, name);
    (void)sse_event(streaming->request, render_id(streaming, id), "complete",
                    FIELDS(NUMBER_FIELD("code", ending->code),
                           FLAG_FIELD("error", ending->code != 0), TEXT_FIELD("signal", signal),
                           TEXT_FIELD("reason", end_reason_name(ending->reason)),
                           NUMBER_FIELD("duration_ms", ending->duration_ms),
                           NUMBER_FIELD("max_rss_kb", ending->max_rss_kb)));
}

/* The trouble is ours. After half an event the stream can only be cut. */
static void streaming_fail(void *context, const char *message)
{
    struct streaming *streaming = context;
    char id[DECIMAL_MAX + 1];
    if (streaming->torn) {
        request_abort(streaming->request);
    } else if (flush(streaming) >= 0) {
        (void)sse_error(streaming->request, render_id(streaming, id),
                        is_stopping() ? ERROR_stopping : ERROR_may_have_run, "%s", message);
    }
}

static const char *streaming_finish(void *context, const struct ending *ending)
{
    struct streaming *streaming = context;
    if (end_lines(streaming) < 0) {
        return streaming->error == 0 ? NULL : error_text(streaming->error);
    }
    if (ending->lost) {
        return COMMAND_LOST;
    }
    send_complete(streaming, ending);
    return NULL;
}

static void run_streaming(struct request *request, const struct json_body *body)
{
    static const struct foreground_answer answer = {
        .streams = true,
        .sink = {.data = streaming_take_output,
                 .rest = flush,
                 .due = streaming_due,
                 .silence = keep_alive},
        .finish = streaming_finish,
        .fail = streaming_fail,
    };
    int64_t partial_ms;
    cleanup_streaming struct streaming streaming = {.request = request};
    if (!partial_lines_read(request, body, &partial_ms)) {
        return;
    }
    line_reader_init(&streaming.lines[PUMP_STDOUT], spools_directory(), LINE_MEMORY);
    line_reader_init(&streaming.lines[PUMP_STDERR], spools_directory(), LINE_MEMORY);
    streaming.lines[PUMP_STDOUT].patience_ms = partial_ms;
    streaming.lines[PUMP_STDERR].patience_ms = partial_ms;
    if (writer_init(&streaming.writer, request, EVENT_BUFFER, true) < 0) {
        answer_error(request, 500, ERROR_internal, "Out of memory");
        return;
    }
    foreground_run(request, body, &answer, &streaming, &streaming.error);
}

static const struct json_member streaming_members[] = {FOREGROUND_MEMBERS, PARTIAL_MEMBER};
const struct endpoint run_streaming_endpoint = {
    API_ROW(run_streaming),
    .about = "Runs a command and streams its output, line by line.",
    MEMBERS(streaming_members),
    .handle = run_streaming,
};

/*
 * Rendering events. Those that come by the million are rendered into a writer's buffer, the others
 * by cJSON.
 */
#include "fcgi-app/http/sse.h"

#include <stdarg.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "common/utf8.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/writer.h"

int sse_begin(struct request *request)
{
    static const char headers[] = "Cache-Control: no-cache\r\n"
                                  "X-Accel-Buffering: no\r\n";
    return request_begin(request, 200, "text/event-stream; charset=utf-8", headers) < 0
               ? -1
               : request_flush(request);
}

static int send_event(struct request *request, int64_t id, const char *event, const char *data)
{
    cleanup_free char *text = NULL;
    char first[32] = "";
    if (id != SSE_NO_ID) {
        (void)snprintf(first, sizeof(first), "id: %lld\n", (long long)id);
    }
    int length = asprintf(&text, "%sevent: %s\ndata: %s\n\n", first, event, data);
    if (length < 0) {
        text = NULL;
        request_abort(request);
        return -1;
    }
    return request_write(request, text, (size_t)length) < 0 ? -1 : request_flush(request);
}

int sse_event(struct request *request, int64_t id, const char *event, cJSON *data)
{
    char *text = data == NULL ? NULL : cJSON_PrintUnformatted(data);
    cJSON_Delete(data);
    if (text == NULL) {
        request_abort(request);
        return -1;
    }
    int sent = send_event(request, id, event, text);
    cJSON_free(text);
    return sent;
}

int sse_error(struct request *request, int64_t id, const char *format, ...)
{
    cleanup_free char *raw = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&raw, format, arguments) < 0) {
        raw = NULL;
    }
    va_end(arguments);
    cleanup_free char *message = raw == NULL ? NULL : utf8_copy(raw);
    cJSON *data = message == NULL ? NULL : cJSON_CreateObject();
    if (data != NULL && cJSON_AddStringToObject(data, "error", message) == NULL) {
        cJSON_Delete(data);
        data = NULL;
    }
    return sse_event(request, id, "error", data);
}

/* The part of the line that a spool holds, piece by piece from its view. */
static int write_held(struct writer *writer, const struct line *line)
{
    const size_t piece_max = (size_t)1 << 20;
    const char *held = spool_view(line->held);
    if (held == NULL) {
        return -2;
    }
    for (uint64_t at = 0; at < line->held_length;) {
        uint64_t left = line->held_length - at;
        size_t size = left < piece_max ? (size_t)left : piece_max;
        if (writer_piece(writer, held + at, size) < 0) {
            return -1;
        }
        at += size;
        spool_relax_view(line->held);
    }
    return 0;
}

int sse_output(struct writer *writer, int64_t id, const char *stream, const struct line *line)
{
    if (writer_string(writer, "id: ") < 0 || writer_number(writer, (uint64_t)id) < 0 ||
        writer_string(writer, "\nevent: output\ndata: {\"stream\":\"") < 0 ||
        writer_string(writer, stream) < 0 || writer_string(writer, "\",\"data\":\"") < 0) {
        return -1;
    }
    if (line->held_length == 0) {
        if (writer_text(writer, line->tail, line->tail_length) < 0) {
            return -1;
        }
    } else {
        int held = write_held(writer, line);
        if (held < 0) {
            return held;
        }
        if (writer_piece(writer, line->tail, line->tail_length) < 0 ||
            writer_piece_end(writer) < 0) {
            return -1;
        }
    }
    return writer_raw(writer, "\"}\n\n", 4);
}

int sse_keepalive(struct request *request)
{
    static const char comment[] = ":keepalive\n\n";
    return request_write(request, comment, sizeof(comment) - 1) < 0 ? -1 : request_flush(request);
}

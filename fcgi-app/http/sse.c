/*
 * Rendering events. Those that come by the million are rendered into a writer's buffer, the others
 * by cJSON.
 */
#include "fcgi-app/http/sse.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "common/json_text.h"
#include "common/utf8.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/writer.h"

static int64_t keepalive_ms = 45000;

void sse_init(uint64_t keepalive)
{
    keepalive_ms = (int64_t)keepalive;
}

int64_t sse_keepalive_ms(void)
{
    return keepalive_ms;
}

int sse_begin(struct request *request)
{
    static const char headers[] = "Cache-Control: no-cache\r\n"
                                  "X-Accel-Buffering: no\r\n";
    return request_begin(request, 200, "text/event-stream; charset=utf-8", headers) < 0
               ? -1
               : request_flush(request);
}

size_t sse_short(char text[SSE_SHORT_SIZE], const char *id, const char *event, const char *format,
                 ...)
{
    char data[SSE_SHORT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(data, sizeof(data), format, arguments);
    va_end(arguments);
    int length = snprintf(text, SSE_SHORT_SIZE, "event: %s\ndata: %s%s%s\n\n", event, data,
                          id == NULL ? "" : "\nid: ", id == NULL ? "" : id);
    return (size_t)length < SSE_SHORT_SIZE ? (size_t)length : SSE_SHORT_SIZE - 1;
}

static int write_string(struct request *request, const char *text)
{
    return request_write(request, text, strlen(text));
}

/* JSON text, in which a line separator can only be in a string: there it is escaped. */
static int write_json(struct request *request, const char *text)
{
    const char *end = text + strlen(text);
    const char *from = text;
    for (const char *at = text; at < end;) {
        size_t taken;
        const char *escape = json_separator_escape(at, (size_t)(end - at), &taken);
        if (escape == NULL) {
            at++;
            continue;
        }
        if (request_write(request, from, (size_t)(at - from)) < 0 ||
            write_string(request, escape) < 0) {
            return -1;
        }
        from = at += taken;
    }
    return request_write(request, from, (size_t)(end - from));
}

/* `id` is NULL for an event that has none. */
static int send_event(struct request *request, const char *id, const char *event, cJSON *data)
{
    char *text = data == NULL ? NULL : cJSON_PrintUnformatted(data);
    cJSON_Delete(data);
    if (text == NULL) {
        request_abort(request);
        return -1;
    }
    bool sent =
        write_string(request, "event: ") == 0 && write_string(request, event) == 0 &&
        write_string(request, "\ndata: ") == 0 && write_json(request, text) == 0 &&
        (id == NULL || (write_string(request, "\nid: ") == 0 && write_string(request, id) == 0)) &&
        write_string(request, "\n\n") == 0 && request_flush(request) == 0;
    cJSON_free(text);
    return sent ? 0 : -1;
}

int sse_event(struct request *request, int64_t id, const char *event, cJSON *data)
{
    char number[32];
    (void)snprintf(number, sizeof(number), "%lld", (long long)id);
    return send_event(request, id == SSE_NO_ID ? NULL : number, event, data);
}

int sse_error(struct request *request, int64_t id, enum api_error error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cJSON *data = error_object(0, error, format, arguments);
    va_end(arguments);
    return sse_event(request, id, "error", data);
}

int sse_final_error(struct request *request, const char *id, enum api_error error,
                    const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cJSON *data = error_object(0, error, format, arguments);
    va_end(arguments);
    return send_event(request, id, "error", data);
}

/* The part of the line that a spool holds, piece by piece from its view. 0; -1, with errno where it
 * cannot be read. */
static int write_held(struct writer *writer, const struct line *line)
{
    const uint64_t piece_max = 1 << 20;
    const char *held = spool_view(line->held);
    for (uint64_t at = 0, size; held != NULL && at < line->held_length; at += size) {
        size = line->held_length - at < piece_max ? line->held_length - at : piece_max;
        if (writer_piece(writer, held + at, (size_t)size) < 0) {
            return -1;
        }
        spool_relax_view(line->held);
    }
    return held == NULL ? -1 : 0;
}

int sse_output(struct writer *writer, int64_t id, const char *stream, const struct line *line)
{
    (void)writer_string(writer, "event: output\ndata: {\"stream\":\"");
    (void)writer_string(writer, stream);
    (void)writer_string(writer, "\",\"data\":\"");
    if (line->held_length > 0 && write_held(writer, line) < 0) {
        return writer->failed ? -1 : -2;
    }
    (void)writer_piece(writer, line->tail, line->tail_length);
    (void)writer_piece_end(writer);
    (void)writer_string(writer, "\"}\nid: ");
    (void)writer_number(writer, (uint64_t)id);
    return writer_string(writer, "\n\n");
}

int sse_keepalive(struct request *request)
{
    return write_string(request, SSE_KEEPALIVE) < 0 ? -1 : request_flush(request);
}

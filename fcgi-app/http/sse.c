#include "fcgi-app/http/sse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

int sse_event(struct request *request, const char *id, const char *event,
              const struct answer_field *fields)
{
    char buffer[2048];
    struct writer writer = writer_over(request, buffer, sizeof(buffer), 0);
    (void)writer_format(&writer, "event: %s\ndata: {", event);
    (void)writer_fields(&writer, fields);
    (void)writer_format(&writer, "}%s%s\n\n", id == NULL ? "" : "\nid: ", id == NULL ? "" : id);
    return writer_flush(&writer);
}

int sse_error(struct request *request, const char *id, enum api_error error, const char *format,
              ...)
{
    va_list arguments;
    char message[ERROR_MESSAGE_SIZE];
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    return sse_event(
        request, id, "error",
        FIELDS(TEXT_FIELD("error", message), TEXT_FIELD("error_code", api_error_code(error))));
}

int sse_output(struct writer *writer, int64_t id, const char *stream, const struct line *line)
{
    (void)writer_string(writer, "event: output\ndata: {\"stream\":\"");
    (void)writer_string(writer, stream);
    (void)writer_string(writer, "\",\"data\":\"");
    int held = line->held_length == 0 ? 0 : writer_spool(writer, line->held, line->held_length);
    if (held < 0) {
        return held;
    }
    (void)writer_piece(writer, line->tail, line->tail_length);
    (void)writer_piece_end(writer);
    (void)writer_string(writer, line->continued ? "\",\"continued\":true}\nid: " : "\"}\nid: ");
    (void)writer_number(writer, (uint64_t)id);
    return writer_string(writer, "\n\n");
}

int sse_keepalive(struct request *request)
{
    return request_write(request, SSE_KEEPALIVE, strlen(SSE_KEEPALIVE)) < 0
               ? -1
               : request_flush(request);
}

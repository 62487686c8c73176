#include "fcgi-app/http/writer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/decimal.h"
#include "common/json_text.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/request.h"

/* Room for this much escaped text there must be, or the buffer is written out first. */
#define PIECE_MIN   ((size_t)64)
#define PIECE_ROOM  JSON_ESCAPED_MAX(PIECE_MIN)
#define FORMAT_ROOM ((size_t)256)

int writer_init(struct writer *writer, struct request *request, size_t capacity, bool begun)
{
    *writer = (struct writer){
        .request = request, .data = malloc(capacity), .capacity = capacity, .begun = begun};
    return writer->data == NULL ? -1 : 0;
}

void writer_clear(struct writer *writer)
{
    free(writer->data);
    writer->data = NULL;
}

static int writer_result(const struct writer *writer)
{
    return writer->failed ? -1 : 0;
}

/* Begins the answer if that was not done. */
static void writer_begin(struct writer *writer, const char *headers)
{
    writer->failed =
        writer->failed ||
        (!writer->begun && request_begin(writer->request, 200, "application/json", headers) < 0);
    writer->begun = true;
}

/* Passes the buffer on to the request, which may keep it a while. */
static int writer_empty(struct writer *writer)
{
    writer_begin(writer, NULL);
    writer->failed =
        writer->failed || request_write(writer->request, writer->data, writer->used) < 0;
    writer->used = 0;
    return writer_result(writer);
}

static int make_room(struct writer *writer, size_t room)
{
    return writer->capacity - writer->used < room ? writer_empty(writer) : writer_result(writer);
}

int writer_raw(struct writer *writer, const char *data, size_t length)
{
    while (length > 0) {
        if (writer->used == writer->capacity && writer_empty(writer) < 0) {
            return -1;
        }
        size_t room = writer->capacity - writer->used;
        size_t step = length < room ? length : room;
        memcpy(writer->data + writer->used, data, step);
        writer->used += step;
        data += step;
        length -= step;
    }
    return writer_result(writer);
}

int writer_string(struct writer *writer, const char *text)
{
    return writer_raw(writer, text, strlen(text));
}

int writer_number(struct writer *writer, uint64_t number)
{
    if (make_room(writer, DECIMAL_MAX) < 0) {
        return -1;
    }
    writer->used += decimal_render(writer->data + writer->used, number);
    return 0;
}

int writer_format(struct writer *writer, const char *format, ...)
{
    if (make_room(writer, FORMAT_ROOM) < 0) {
        return -1;
    }
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(writer->data + writer->used, FORMAT_ROOM, format, arguments);
    va_end(arguments);
    writer->used += length < 0 ? 0 : (size_t)length;
    return length < 0 ? -1 : 0;
}

/* Escapes data[0..length); all but an unfinished sequence at the end unless `last`. */
static int writer_escape(struct writer *writer, const char *data, size_t length, bool last,
                         size_t *consumed)
{
    size_t at = 0;
    while (at < length) {
        if (make_room(writer, PIECE_ROOM) < 0) {
            return -1;
        }
        size_t fits = (writer->capacity - writer->used - JSON_ESCAPED_MAX(0)) / 6;
        bool is_end = length - at <= fits;
        size_t size = is_end ? length - at : fits;
        size_t taken;
        writer->used +=
            json_escape(writer->data + writer->used, data + at, size, last && is_end, &taken);
        at += taken;
        if (is_end) {
            break;
        }
    }
    *consumed = at;
    return writer_result(writer);
}

int writer_text(struct writer *writer, const char *data, size_t length)
{
    size_t consumed;
    return writer_escape(writer, data, length, true, &consumed);
}

int writer_piece(struct writer *writer, const char *data, size_t length)
{
    size_t consumed;
    while (writer->cut_length > 0 && length > 0) {
        /* One byte more of the sequence that was cut: 4 bytes finish any. */
        writer->cut[writer->cut_length++] = *data++;
        length--;
        if (writer_escape(writer, writer->cut, writer->cut_length, false, &consumed) < 0) {
            return -1;
        }
        writer->cut_length -= consumed;
        memmove(writer->cut, writer->cut + consumed, writer->cut_length);
    }
    if (writer_escape(writer, data, length, false, &consumed) < 0) {
        return -1;
    }
    if (consumed < length) {
        writer->cut_length = length - consumed;
        memcpy(writer->cut, data + consumed, writer->cut_length);
    }
    return writer_result(writer);
}

int writer_piece_end(struct writer *writer)
{
    size_t length = writer->cut_length;
    writer->cut_length = 0;
    return writer_text(writer, writer->cut, length);
}

void writer_piece_cut(struct writer *writer)
{
    writer->cut_length = 0;
}

int writer_flush(struct writer *writer)
{
    return writer_empty(writer) < 0 ? -1 : request_flush(writer->request);
}

int writer_finish(struct writer *writer)
{
    char headers[sizeof(writer->headers) + 64];
    int length = snprintf(headers, sizeof(headers), "%s", writer->headers);
    if (writer->used <= ANSWER_AT_ONCE) {
        (void)snprintf(headers + length, sizeof(headers) - (size_t)length,
                       "Content-Length: %zu\r\n", writer->used);
    }
    writer_begin(writer, headers);
    return writer_empty(writer);
}

#include "fcgi-app/http/writer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/statuses.h"
#include "common/decimal.h"
#include "common/json_text.h"
#include "common/spool.h"
#include "fcgi-app/http/request.h"

/* Room for this much escaped text there must be, or the buffer is written out first. */
#define PIECE_MIN   ((size_t)64)
#define PIECE_ROOM  JSON_ESCAPED_MAX(PIECE_MIN)
#define FORMAT_ROOM ((size_t)256)

int writer_init(struct writer *writer, struct request *request, size_t capacity, bool begun)
{
    *writer = writer_over(request, malloc(capacity), capacity, begun ? 0 : 200);
    return writer->data == NULL ? -1 : 0;
}

struct writer writer_over(struct request *request, char *buffer, size_t capacity, int status)
{
    struct writer writer = {.request = request,
                            .data = buffer,
                            .capacity = capacity,
                            .status = status,
                            .begun = status == 0};
    writer_header(&writer, "%s", API_STATUS_REPEATS(status) ? "Retry-After: 1\r\n" : "");
    return writer;
}

void writer_header(struct writer *writer, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(writer->headers);
    va_start(arguments, format);
    (void)vsnprintf(writer->headers + used, sizeof(writer->headers) - used, format, arguments);
    va_end(arguments);
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

/* Passes the buffer on to the request, which may keep it a while. */
static int writer_empty(struct writer *writer)
{
    writer->failed = writer->failed ||
                     (!writer->begun && request_begin(writer->request, writer->status,
                                                      "application/json", writer->headers) < 0) ||
                     request_write(writer->request, writer->data, writer->used) < 0;
    writer->begun = true;
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
        writer->used += json_escape_noting(writer->data + writer->used, data + at, size,
                                           last && is_end, &taken, &writer->replaced);
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

int writer_spool(struct writer *writer, struct spool *spool, uint64_t length)
{
    const uint64_t piece_max = 1 << 20;
    const char *text = spool_view(spool);
    if (text == NULL) {
        return -2;
    }
    for (uint64_t at = 0, size; at < length; at += size) {
        size = length - at < piece_max ? length - at : piece_max;
        if (writer_piece(writer, text + at, (size_t)size) < 0) {
            return -1;
        }
        spool_relax_view(spool);
    }
    return writer_result(writer);
}

int writer_piece_end(struct writer *writer)
{
    size_t length = writer->cut_length;
    writer->cut_length = 0;
    return writer_text(writer, writer->cut, length);
}

size_t writer_piece_cut(struct writer *writer)
{
    size_t length = writer->cut_length;
    writer->cut_length = 0;
    return length;
}

static void write_field(struct writer *writer, const struct answer_field *field)
{
    (void)writer_format(writer, "\"%s\":", field->name);
    switch (field->kind) {
    case FIELD_NUMBER: (void)writer_format(writer, "%" PRId64, field->number); break;
    case FIELD_FLAG: (void)writer_string(writer, field->number != 0 ? "true" : "false"); break;
    case FIELD_TEXT:
        (void)writer_string(writer, "\"");
        (void)writer_text(writer, field->text, strlen(field->text));
        (void)writer_string(writer, "\"");
        break;
    }
}

int writer_fields(struct writer *writer, const struct answer_field *fields)
{
    for (const char *comma = ""; fields->name != NULL; fields++) {
        if (fields->kind != FIELD_TEXT || fields->text != NULL) {
            (void)writer_string(writer, comma);
            write_field(writer, fields);
            comma = ",";
        }
    }
    return writer_result(writer);
}

int writer_flush(struct writer *writer)
{
    return writer_empty(writer) < 0 ? -1 : request_flush(writer->request);
}

int writer_finish(struct writer *writer)
{
    if (writer->used <= ANSWER_AT_ONCE) {
        writer_header(writer, "Content-Length: %zu\r\n", writer->used);
    }
    return writer_empty(writer);
}

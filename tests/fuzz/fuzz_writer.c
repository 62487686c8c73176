/*
 * The writers of JSON and of server-sent events: whatever bytes go in, what comes out parses, and
 * its strings are the text that stands for these bytes (docs/api.md).
 */
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/cleanup.h"
#include "common/json_text.h"
#include "common/line_reader.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/http/writer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/text.h"
#include "tests/unit/fake_request.h"

#define WRITER_MIN 512

/* How a run cuts its bytes. */
struct cuts {
    size_t capacity; /* of the writer */
    size_t piece;    /* what it gets at a time */
    size_t held;     /* of an unfinished line in memory */
};

/* data[0..length) is one JSON object whose `name` is the text that stands for bytes[0..count). */
static void check_string(const char *data, size_t length, const char *name, const char *bytes,
                         size_t count)
{
    size_t text_length;
    cleanup_free char *text = text_of(bytes, count, &text_length);
    json_t *object = json_loadb(data, length, JSON_ALLOW_NUL, NULL);
    json_t *string = json_object_get(object, name);
    assert(json_string_length(string) == text_length);
    assert(json_is_string(string) && memcmp(json_string_value(string), text, text_length) == 0);
    json_decref(object);
}

/* ---- JSON ---- */

static void check_plain(const char *bytes, size_t length)
{
    size_t plain = 0;
    while (plain < length && bytes[plain] >= 0x20 && bytes[plain] != '"' && bytes[plain] != '\\') {
        plain++;
    }
    assert(json_plain_length(bytes, length) == plain);
}

static void write_pieces(struct writer *writer, const char *bytes, size_t length, size_t piece)
{
    for (size_t at = 0; at < length; at += piece) {
        size_t left = length - at;
        assert(writer_piece(writer, bytes + at, left < piece ? left : piece) == 0);
    }
    assert(writer_piece_end(writer) == 0);
}

static void check_json(const struct cuts *cuts, const char *bytes, size_t length)
{
    struct request request = fake_request("", 0);
    struct writer writer;
    assert(writer_init(&writer, &request, cuts->capacity, false) == 0);
    assert(writer_string(&writer, "{\"whole\":\"") == 0);
    assert(writer_text(&writer, bytes, length) == 0);
    assert(writer_string(&writer, "\",\"pieces\":\"") == 0);
    write_pieces(&writer, bytes, length, cuts->piece);
    assert(writer_format(&writer, "\",\"length\":%zu", length) == 0);
    assert(writer_string(&writer, ",\"number\":") == 0 && writer_number(&writer, length) == 0);
    assert(writer_raw(&writer, "}", 1) == 0 && writer_finish(&writer) == 0);
    check_string(request.answer, request.answer_length, "whole", bytes, length);
    check_string(request.answer, request.answer_length, "pieces", bytes, length);
    writer_clear(&writer);
    fake_request_clear(&request);
}

/* ---- server-sent events ---- */

struct event {
    const char *id, *name, *data; /* each up to the end of its line; id may be NULL */
    size_t id_length, name_length, data_length;
};

static bool take(const char **at, const char *end, const char *wanted)
{
    size_t length = strlen(wanted);
    if ((size_t)(end - *at) < length || memcmp(*at, wanted, length) != 0) {
        return false;
    }
    *at += length;
    return true;
}

static const char *take_line(const char **at, const char *end, size_t *length)
{
    const char *line = *at;
    const char *newline = memchr(line, '\n', (size_t)(end - line));
    assert(newline != NULL);
    *length = (size_t)(newline - line);
    *at = newline + 1;
    assert_no_separator(line, *length);
    return line;
}

/* Takes the next event and the comments before it; there must be one. */
static struct event take_event(const char **at, const char *end)
{
    struct event event = {0};
    while (take(at, end, ":")) {
        size_t length;
        (void)take_line(at, end, &length);
    }
    assert(take(at, end, "event: "));
    event.name = take_line(at, end, &event.name_length);
    assert(take(at, end, "data: "));
    event.data = take_line(at, end, &event.data_length);
    if (take(at, end, "id: ")) {
        event.id = take_line(at, end, &event.id_length);
        assert(event.id_length > 0);
    }
    assert(take(at, end, "\n"));
    return event;
}

static int write_line(void *context, const struct line *line)
{
    return sse_output(context, 12, "stderr", line);
}

/* The events that bytes[0..length) become, as a streaming command's output does. */
static void write_events(const struct cuts *cuts, const char *bytes, size_t length,
                         struct request *request)
{
    struct line_reader reader;
    struct writer writer;
    assert(sse_begin(request) == 0);
    assert(writer_init(&writer, request, cuts->capacity, true) == 0);
    line_reader_init(&reader, scratch_directory(), cuts->held);
    for (size_t at = 0; at < length; at += cuts->piece) {
        size_t left = length - at;
        assert(line_reader_feed(&reader, bytes + at, left < cuts->piece ? left : cuts->piece,
                                write_line, &writer) == 0);
    }
    assert(line_reader_end(&reader, write_line, &writer) == 0);
    assert(writer_flush(&writer) == 0);
    line_reader_clear(&reader);
    writer_clear(&writer);
}

static void check_events(const struct cuts *cuts, const char *bytes, size_t length)
{
    struct request request = fake_request("", 0);
    write_events(cuts, bytes, length, &request);
    const char *at = request.answer;
    const char *end = at + request.answer_length;
    for (size_t line = 0; line < length;) {
        const char *newline = memchr(bytes + line, '\n', length - line);
        size_t next = newline == NULL ? length : (size_t)(newline - bytes) + 1;
        size_t cut = newline == NULL ? length : next - 1;
        while (cut > line && bytes[cut - 1] == '\r') {
            cut--;
        }
        struct event event = take_event(&at, end);
        assert(event.id_length == 2 && memcmp(event.id, "12", 2) == 0);
        assert(event.name_length == 6 && memcmp(event.name, "output", 6) == 0);
        check_string(event.data, event.data_length, "data", bytes + line, cut - line);
        check_string(event.data, event.data_length, "stream", "stderr", 6);
        line = next;
    }
    assert(at == end);
    fake_request_clear(&request);
}

/* An error message may hold anything but a NUL, which ends it, and is cut where it is long. */
static void check_error(const char *bytes, size_t length)
{
    struct request request = fake_request("", 0);
    cleanup_free char *message =
        strndup(bytes, length < ERROR_MESSAGE_SIZE ? length : ERROR_MESSAGE_SIZE - 1);
    assert(message != NULL);
    assert(sse_begin(&request) == 0);
    assert(sse_keepalive(&request) == 0);
    assert(sse_error(&request, NULL, ERROR_internal, "%s", message) == 0);
    assert(sse_event(&request, "0", "complete", FIELDS(TEXT_FIELD("absent", NULL))) == 0);
    const char *at = request.answer;
    const char *end = at + request.answer_length;
    struct event event = take_event(&at, end);
    assert(event.id == NULL);
    check_string(event.data, event.data_length, "error", message, strlen(message));
    event = take_event(&at, end);
    assert(event.id_length == 1 && event.data_length == 2 && at == end);
    fake_request_clear(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct cuts cuts = {.capacity = WRITER_MIN + input_number(&input, 1),
                        .piece = 1 + input_number(&input, 1),
                        .held = input_number(&input, 1)};
    size_t length = input.left;
    const char *bytes = input_bytes(&input, &length);
    check_plain(bytes, length);
    check_json(&cuts, bytes, length);
    check_events(&cuts, bytes, length);
    check_error(bytes, length);
    return 0;
}

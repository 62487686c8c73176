/*
 * Writers and events: what is rendered arrives whole, however small the buffer and however the text
 * is cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>

#include "common/cleanup.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/http/writer.h"
#include "tests/unit/fake_request.h"

#define WRITER_MIN 512

/* ---- the writer ---- */

static const char text[] =
    "plain \"quoted\" \\ \x01 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xff \xe2\x82";
static const char escaped[] = "plain \\\"quoted\\\" \\\\ \\u0001 \xc3\xa9 \xe2\x82\xac "
                              "\xf0\x9f\x98\x80 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd";

static void test_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= sizeof(text); piece++) {
        struct request request = fake_request("", 0);
        struct writer writer;
        assert_int_equal(writer_init(&writer, &request, WRITER_MIN, false), 0);
        for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
            size_t left = sizeof(text) - 1 - at;
            assert_int_equal(writer_piece(&writer, text + at, left < piece ? left : piece), 0);
        }
        assert_int_equal(writer_piece_end(&writer), 0);
        assert_int_equal(request.status, 0); /* it fits: nothing has begun */
        assert_int_equal(writer_finish(&writer), 0);
        assert_int_equal(request.status, 200);
        assert_string_equal(request.answer, escaped);
        writer_clear(&writer);
        fake_request_clear(&request);
    }
}

static void test_more_than_the_buffer(void **state)
{
    (void)state;
    enum { LENGTH = 100000 };
    cleanup_free char *controls = malloc(LENGTH);
    memset(controls, 1, LENGTH); /* six times as long when escaped */
    struct request request = fake_request("", 0);
    struct writer writer;
    assert_int_equal(writer_init(&writer, &request, WRITER_MIN, false), 0);
    assert_int_equal(writer_text(&writer, controls, LENGTH), 0);
    assert_int_equal(writer_raw(&writer, controls, LENGTH), 0);
    assert_int_equal(writer_format(&writer, "%d", 42), 0);
    assert_int_equal(writer_finish(&writer), 0);
    assert_int_equal(request.answer_length, 7 * LENGTH + 2);
    for (size_t i = 0; i < LENGTH; i++) {
        assert_memory_equal(request.answer + 6 * i, "\\u0001", 6);
    }
    writer_clear(&writer);
    fake_request_clear(&request);
}

static void test_a_client_that_leaves(void **state)
{
    (void)state;
    struct request request = fake_request("", 0);
    request.writable_max = 1000;
    struct writer writer;
    assert_int_equal(writer_init(&writer, &request, WRITER_MIN, false), 0);
    int written = 0;
    for (int i = 0; i < 100 && written == 0; i++) {
        written = writer_string(&writer, "0123456789012345678901234567890123456789");
    }
    assert_int_equal(written, -1);
    writer_clear(&writer);
    fake_request_clear(&request);
}

/* ---- events ---- */

static void test_events(void **state)
{
    (void)state;
    struct request request = fake_request("", 0);
    assert_int_equal(sse_begin(&request), 0);
    assert_int_equal(sse_event(&request, NULL, "complete",
                               FIELDS(TEXT_FIELD("absent", NULL), NUMBER_FIELD("code", -3),
                                      FLAG_FIELD("error", true), TEXT_FIELD("signal", "KILL"))),
                     0);
    assert_int_equal(sse_keepalive(&request), 0);
    assert_int_equal(sse_error(&request, "12", ERROR_internal, "no \xff %d", 7), 0);
    assert_int_equal(sse_error(&request, "550e8400-end", ERROR_not_found, "no \"%s\"",
                               "\xe2\x80\xa8x\xe2\x80\xa9\xc2\x85\xc2\x86\xe2\x80\xaa"),
                     0);
    assert_int_equal(request.status, 200);
    assert_string_equal(
        request.answer,
        "event: complete\ndata: {\"code\":-3,\"error\":true,\"signal\":\"KILL\"}\n\n"
        ":keepalive\n"
        "event: error\ndata: {\"error\":\"no \xef\xbf\xbd "
        "7\",\"error_code\":\"internal\"}\nid: 12\n\n"
        "event: error\ndata: {\"error\":\"no \\\"\\u2028x\\u2029\\u0085\xc2\x86"
        "\xe2\x80\xaa\\\"\",\"error_code\":\"not_found\"}\nid: 550e8400-end\n\n");
    fake_request_clear(&request);
}

static void test_short_events(void **state)
{
    (void)state;
    char event[SSE_SHORT_SIZE];
    static const char whole[] = "event: gap\ndata: {\"n\":7}\n\n";
    assert_int_equal(sse_short(event, NULL, "gap", "{\"n\":%d}", 7), sizeof(whole) - 1);
    assert_string_equal(event, whole);
    (void)sse_short(event, "550e8400-end", "complete", "{}");
    assert_string_equal(event, "event: complete\ndata: {}\nid: 550e8400-end\n\n");
}

struct lines {
    struct writer writer;
    int64_t next_id;
};

static int take_line(void *context, const struct line *line)
{
    struct lines *lines = context;
    return sse_output(&lines->writer, lines->next_id++, "stdout", line);
}

/* Feeds `stream` in pieces to a reader that keeps nothing in memory beyond `memory` bytes. */
static void render_lines(struct request *request, const char *stream, size_t length, size_t piece,
                         size_t memory)
{
    cleanup_fd int directory = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct lines lines = {.next_id = 8};
    struct line_reader reader;
    line_reader_init(&reader, directory, memory);
    assert_int_equal(writer_init(&lines.writer, request, WRITER_MIN, true), 0);
    assert_int_equal(sse_begin(request), 0);
    for (size_t at = 0; at < length; at += piece) {
        size_t size = length - at < piece ? length - at : piece;
        assert_int_equal(line_reader_feed(&reader, stream + at, size, take_line, &lines), 0);
    }
    assert_int_equal(line_reader_end(&reader, take_line, &lines), 0);
    assert_int_equal(writer_flush(&lines.writer), 0);
    line_reader_clear(&reader);
    writer_clear(&lines.writer);
}

static void test_output(void **state)
{
    (void)state;
    static const char stream[] = "a\xe2\x82\xac\"\n\n\xe2\x82\r\n\xe2\x80\xa8"
                                 "b\xc2\x85\nend";
    for (size_t piece = 1; piece < sizeof(stream); piece++) {
        struct request request = fake_request("", 0);
        render_lines(&request, stream, sizeof(stream) - 1, piece, 2);
        assert_string_equal(
            request.answer,
            "event: output\ndata: {\"stream\":\"stdout\",\"data\":\"a\xe2\x82\xac\\\"\"}\nid: 8\n\n"
            "event: output\ndata: {\"stream\":\"stdout\",\"data\":\"\"}\nid: 9\n\n"
            "event: output\ndata: "
            "{\"stream\":\"stdout\",\"data\":\"\xef\xbf\xbd\xef\xbf\xbd\"}\nid: 10\n\n"
            "event: output\ndata: {\"stream\":\"stdout\",\"data\":\"\\u2028b\\u0085\"}\nid: 11\n\n"
            "event: output\ndata: {\"stream\":\"stdout\",\"data\":\"end\"}\nid: 12\n\n");
        fake_request_clear(&request);
    }
}

static void test_a_long_line(void **state)
{
    (void)state;
    enum { LENGTH = 5000001 };
    cleanup_free char *line = malloc(LENGTH);
    memset(line, 'x', LENGTH);
    static const char euro[] = {'\xe2', '\x82', '\xac'};
    memcpy(line + (1 << 20) - 1, euro, sizeof(euro)); /* across the pieces of a held line */
    struct request request = fake_request("", 0);
    render_lines(&request, line, LENGTH, 65536, 4096);
    static const char begin[] = "event: output\ndata: {\"stream\":\"stdout\",\"data\":\"";
    assert_int_equal(request.answer_length, sizeof(begin) - 1 + LENGTH + 10);
    assert_memory_equal(request.answer + sizeof(begin) - 1, line, LENGTH);
    fake_request_clear(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_of_any_size),   cmocka_unit_test(test_more_than_the_buffer),
        cmocka_unit_test(test_a_client_that_leaves), cmocka_unit_test(test_events),
        cmocka_unit_test(test_short_events),         cmocka_unit_test(test_output),
        cmocka_unit_test(test_a_long_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

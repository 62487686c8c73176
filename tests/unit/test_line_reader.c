/*
 * Lines: however the stream is cut, the same lines come out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "common/cleanup.h"
#include "common/line_reader.h"

/* Collects the lines, each in brackets. */
struct collector {
    char text[4096];
    size_t length;
    int lines;
    int stop_after; /* 0: never */
};

static int collect(void *context, const struct line *line)
{
    struct collector *collector = context;
    size_t size = (size_t)line->held_length + line->tail_length + 2;
    assert_true(collector->length + size < sizeof(collector->text));
    char *at = collector->text + collector->length;
    *at++ = '[';
    if (line->held != NULL) {
        assert_int_equal(spool_read(line->held, 0, at, (size_t)line->held_length),
                         line->held_length);
    }
    memcpy(at + line->held_length, line->tail, line->tail_length);
    at[line->held_length + line->tail_length] = ']';
    collector->length += size;
    return ++collector->lines == collector->stop_after ? 7 : 0;
}

static void assert_lines(const char *stream, size_t length, size_t piece, const char *expected)
{
    struct line_reader reader;
    struct collector collector = {.length = 0};
    line_reader_init(&reader, -1, 4096);
    for (size_t at = 0; at < length; at += piece) {
        size_t size = length - at < piece ? length - at : piece;
        /* a buffer of its own, so that a sanitizer sees a read beyond the piece */
        cleanup_free char *data = malloc(size);
        memcpy(data, stream + at, size);
        assert_int_equal(line_reader_feed(&reader, data, size, collect, &collector), 0);
    }
    assert_int_equal(line_reader_end(&reader, collect, &collector), 0);
    assert_int_equal(line_reader_pending(&reader), 0);
    assert_string_equal(collector.text, expected);
    line_reader_clear(&reader);
}

static void cuts_lines_alike_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        size_t length;
        const char *lines;
    } rows[] = {
        {"", 0, ""},
        {"one\ntwo\n", 8, "[one][two]"},
        {"one\ntail", 8, "[one][tail]"},
        {"\n\n\n", 3, "[][][]"},
        {"dos\r\nunix\n", 10, "[dos][unix]"},
        {"many\r\r\r\n\r\r\n", 11, "[many][]"},
        {"in\rside\r\rthe\rline\n", 18, "[in\rside\r\rthe\rline]"},
        {"tail\r\r", 6, "[tail]"},
        {"\r", 1, "[]"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t piece = 1; piece < 20; piece++) {
            assert_lines(rows[i].stream, rows[i].length, piece, rows[i].lines);
        }
    }
}

static void cuts_any_number_of_carriage_returns(void **state)
{
    (void)state;
    char stream[20003];
    memset(stream, '\r', sizeof(stream));
    stream[0] = 'a';
    stream[1] = 'b';
    stream[sizeof(stream) - 1] = '\n';
    struct line_reader reader;
    struct collector collector = {.length = 0};
    line_reader_init(&reader, -1, sizeof(stream));
    for (size_t at = 0; at < sizeof(stream); at += 100) {
        size_t size = sizeof(stream) - at < 100 ? sizeof(stream) - at : 100;
        assert_int_equal(line_reader_feed(&reader, stream + at, size, collect, &collector), 0);
    }
    assert_string_equal(collector.text, "[ab]");
    line_reader_clear(&reader);
}

/* A piece, the open end of which waits for the next; then what ends the line. */
static void splits_an_unfinished_line(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *lines;
    } rows[] = {
        {"a? ", "b\n", "[a? ][b]"},
        {"a? ", "\n", "[a? ][]"},
        {"a? ", "", "[a? ][]"},
        {"a\r", "\n", "[a][]"},
        {"a\r", "b\r", "[a][\rb]"},
        {"a\xc3", "\xa4\n", "[a][\xc3\xa4]"},
        {"\r", "\n", "[]"},
        {"\xe2\x82", "x", "[\xe2\x82x]"},
        {"", "", ""},
        {"x\n", "", "[x]"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct line_reader reader;
        struct collector collector = {.length = 0};
        const char *before = rows[i].before, *after = rows[i].after;
        line_reader_init(&reader, -1, 100);
        reader.patience_ms = 0;
        assert_int_equal(line_reader_feed(&reader, before, strlen(before), collect, &collector), 0);
        assert_int_equal(line_reader_serve(&reader, collect, &collector), 0);
        assert_int_equal(reader.due_ms, LINE_NEVER_DUE);
        assert_int_equal(line_reader_feed(&reader, after, strlen(after), collect, &collector), 0);
        assert_int_equal(line_reader_end(&reader, collect, &collector), 0);
        assert_int_equal(line_reader_end(&reader, collect, &collector), 0);
        assert_string_equal(collector.text, rows[i].lines);
        line_reader_clear(&reader);
    }
}

static void passes_whole_lines_where_they_lie(void **state)
{
    (void)state;
    struct line_reader reader;
    struct collector collector = {.length = 0};
    line_reader_init(&reader, -1, 0); /* nothing can be held */
    assert_int_equal(line_reader_feed(&reader, "a\nb\n", 4, collect, &collector), 0);
    assert_string_equal(collector.text, "[a][b]");
    assert_int_equal(line_reader_feed(&reader, "c", 1, collect, &collector), -1);
    assert_int_equal(errno, EBADF); /* of the spool's directory */
    line_reader_clear(&reader);
}

static void tells_what_is_pending(void **state)
{
    (void)state;
    struct line_reader reader;
    struct collector collector = {.length = 0};
    line_reader_init(&reader, -1, 100);
    assert_int_equal(line_reader_feed(&reader, "a\nbcd", 5, collect, &collector), 0);
    assert_int_equal(line_reader_pending(&reader), 3);
    assert_int_equal(line_reader_feed(&reader, "e\n", 2, collect, &collector), 0);
    assert_int_equal(line_reader_pending(&reader), 0);
    assert_null(reader.held);
    assert_int_equal(line_reader_feed(&reader, "rest", 4, collect, &collector), 0);
    line_reader_clear(&reader); /* with a line held: a leak checker sees to it */
    assert_string_equal(collector.text, "[a][bcde]");
}

static void stops_when_told(void **state)
{
    (void)state;
    struct line_reader reader;
    struct collector collector = {.stop_after = 2};
    line_reader_init(&reader, -1, 100);
    assert_int_equal(line_reader_feed(&reader, "a\nb\nc\n", 6, collect, &collector), 7);
    assert_string_equal(collector.text, "[a][b]");
    line_reader_clear(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_lines_alike_in_pieces_of_any_size),
        cmocka_unit_test(cuts_any_number_of_carriage_returns),
        cmocka_unit_test(splits_an_unfinished_line),
        cmocka_unit_test(passes_whole_lines_where_they_lie),
        cmocka_unit_test(tells_what_is_pending),
        cmocka_unit_test(stops_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Escaping: each kind of byte, strict UTF-8 at every split, and the round trip of random bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/json_text.h"
#include "common/utf8.h"

#define REPLACED UTF8_REPLACEMENT

static void assert_escaped(const char *data, size_t length, const char *expected)
{
    char out[JSON_ESCAPED_MAX(256)];
    size_t consumed = 0;
    size_t written = json_escape(out, data, length, true, &consumed);
    assert_int_equal(consumed, length);
    assert_int_equal(written, strlen(expected));
    assert_memory_equal(out, expected, written);
}

static void escapes_what_json_must(void **state)
{
    (void)state;
    assert_escaped("", 0, "");
    assert_escaped("\"\\\n\r\t\b\f/", 8, "\\\"\\\\\\n\\r\\t\\b\\f/");
    assert_escaped("\0\001\x1f\v", 4, "\\u0000\\u0001\\u001f\\u000b");
    assert_escaped("<>&' \x7f", 6, "<>&' \x7f");
    assert_escaped("\u00e4\u20ac\U0001F600\u2027", 12, "\u00e4\u20ac\U0001F600\u2027");
}

/* What Python's str.splitlines and its like take for the end of a line. */
static void escapes_line_separators(void **state)
{
    (void)state;
    assert_escaped("a\v\f\x1c\x1d\x1e", 6, "a\\u000b\\f\\u001c\\u001d\\u001e");
    assert_escaped("\xc2\x85\u2028\u2029", 8, "\\u0085\\u2028\\u2029");
    assert_escaped("x\u2028y\u2029\u2029z", 12, "x\\u2028y\\u2029\\u2029z");
    assert_escaped("\xc2\x84\xc2\x86\xe2\x80\xa7\xe2\x80\xaa\xe2\x81\xa8\xe3\x80\xa8", 16,
                   "\xc2\x84\xc2\x86\xe2\x80\xa7\xe2\x80\xaa\xe2\x81\xa8\xe3\x80\xa8");
    char out[JSON_ESCAPED_MAX(16)];
    size_t consumed;
    assert_int_equal(json_escape(out, "\xe2\x80", 2, false, &consumed), 0); /* not yet one */
    assert_int_equal(consumed, 0);
}

static void finds_special_bytes_at_every_offset(void **state)
{
    (void)state;
    static const char special[] = {'"', '\\', '\n', '\0', (char)0xff};
    static const char *const escaped[] = {"\\\"", "\\\\", "\\n", "\\u0000", REPLACED};
    for (size_t kind = 0; kind < sizeof(special); kind++) {
        for (size_t length = 1; length < 70; length++) {
            for (size_t at = 0; at < length; at++) {
                char data[70], expected[100];
                memset(data, 'x', length);
                data[at] = special[kind];
                (void)snprintf(expected, sizeof(expected), "%.*s%s%.*s", (int)at, data,
                               escaped[kind], (int)(length - at - 1), data + at + 1);
                assert_escaped(data, length, expected);
                assert_int_equal(json_plain_length(data, length), at);
            }
        }
    }
}

static void replaces_each_invalid_byte(void **state)
{
    (void)state;
    assert_escaped("\xff\xfe", 2, REPLACED REPLACED);
    assert_escaped("\x80", 1, REPLACED);
    assert_escaped("\xc0\xaf", 2, REPLACED REPLACED);              /* overlong / */
    assert_escaped("\xe0\x9f\xbf", 3, REPLACED REPLACED REPLACED); /* overlong */
    assert_escaped("\xf0\x8f\xbf\xbf", 4, REPLACED REPLACED REPLACED REPLACED);
    assert_escaped("\xed\xa0\x80", 3, REPLACED REPLACED REPLACED); /* a surrogate */
    assert_escaped("\xed\x9f\xbf", 3, "\xed\x9f\xbf");             /* the last before them */
    assert_escaped("\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf");     /* U+10FFFF */
    assert_escaped("\xf4\x90\x80\x80", 4, REPLACED REPLACED REPLACED REPLACED);
    assert_escaped("\xf5\x80\x80\x80", 4, REPLACED REPLACED REPLACED REPLACED);
    assert_escaped("\xe2\x82", 2, REPLACED REPLACED); /* cut at the end */
    assert_escaped("\xe2\x82x", 3, REPLACED REPLACED "x");
    assert_escaped("\xe2\xe2\x82\xac", 4, REPLACED "\u20ac");
}

static void leaves_an_unfinished_sequence(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t length, consumed;
    } rows[] = {
        {"a\xe2", 2, 1},         {"a\xe2\x82", 3, 1}, {"\xf0\x9f\x98", 3, 0}, {"\xc3", 1, 0},
        {"a\xe2\x82\xac", 4, 4}, {"\xe0\x9f", 2, 2},  {"\xed\xa0", 2, 2},     {"\xff", 1, 1},
        {"\xf4\x90", 2, 2},      {"\x80", 1, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[JSON_ESCAPED_MAX(8)];
        size_t consumed = 0;
        (void)json_escape(out, rows[i].data, rows[i].length, false, &consumed);
        assert_int_equal(consumed, rows[i].consumed);
    }
}

/* The only characters besides ASCII's that are escaped. Its length. */
static int put_separator(unsigned char *out, unsigned value)
{
    const char *text = value == 0x85 ? "\xc2\x85" : value == 0x2028 ? "\u2028" : "\u2029";
    assert_true(value == 0x85 || value == 0x2028 || value == 0x2029);
    return sprintf((char *)out, "%s", text);
}

/* The strict reader of the round trip: what a JSON parser makes of the inside of a string. */
static size_t unescape(unsigned char *out, const char *text, size_t length)
{
    size_t written = 0;
    for (size_t at = 0; at < length;) {
        unsigned char byte = (unsigned char)text[at];
        assert_true(byte >= 0x20 && byte != '"');
        if (byte == '\\') {
            static const char names[] = "\"\\nrtbf", values[] = "\"\\\n\r\t\b\f";
            assert_true(at + 1 < length);
            const char *name = strchr(names, text[at + 1]);
            if (name != NULL && *name != '\0') {
                out[written++] = (unsigned char)values[name - names];
                at += 2;
                continue;
            }
            unsigned value = 0;
            assert_true(at + 6 <= length);
            assert_int_equal(sscanf(text + at, "\\u%4x", &value), 1);
            at += 6;
            if (value >= 0x20) {
                written += (size_t)put_separator(out + written, value);
            } else {
                out[written++] = (unsigned char)value;
            }
            continue;
        }
        int sequence = utf8_sequence((const unsigned char *)text + at, length - at);
        size_t taken;
        assert_true(sequence > 0);
        assert_null(json_separator_escape(text + at, length - at, &taken));
        memcpy(out + written, text + at, (size_t)sequence);
        written += (size_t)sequence;
        at += (size_t)sequence;
    }
    return written;
}

/* What the reader must get: the input with each invalid byte replaced. */
static size_t make_valid(unsigned char *out, const unsigned char *data, size_t length)
{
    size_t written = 0;
    for (size_t at = 0; at < length;) {
        int sequence = utf8_sequence(data + at, length - at);
        size_t step = sequence > 0 ? (size_t)sequence : 1;
        const void *from = sequence > 0 ? (const void *)(data + at) : REPLACED;
        size_t size = sequence > 0 ? step : UTF8_REPLACEMENT_LENGTH;
        memcpy(out + written, from, size);
        written += size;
        at += step;
    }
    return written;
}

/* Escapes in pieces of random size, putting what was left in front of the next, as the callers do.
 */
static size_t escape_in_pieces(char *out, const unsigned char *data, size_t length)
{
    size_t at = 0, end = 0, written = 0;
    while (at < length) {
        end += 1 + (size_t)rand() % 20;
        end = end > length ? length : end;
        size_t consumed = 0;
        written +=
            json_escape(out + written, (const char *)data + at, end - at, end == length, &consumed);
        assert_true(end - at - consumed <= 3);
        at += consumed;
    }
    return written;
}

static void round_trips_random_bytes(void **state)
{
    (void)state;
    /* Bytes that meet often enough to make and break sequences. */
    static const unsigned char spice[] =
        "\"\\\n\0\x1f\x7f\x80\x9f\xa0\xbf\xc2\xe0\xe2\x82\xac\xed\xef"
        "\xf0\x9f\x98\x80\xf4\x8f\x90\xff\x85\xa8\xa9";
    srand(20260101);
    for (int round = 0; round < 20000; round++) {
        unsigned char data[200], expected[600], got[600];
        char text[JSON_ESCAPED_MAX(200)], pieces[JSON_ESCAPED_MAX(200) + 20 * 6];
        size_t length = (size_t)rand() % sizeof(data);
        for (size_t i = 0; i < length; i++) {
            data[i] = rand() % 3 == 0   ? spice[(size_t)rand() % (sizeof(spice) - 1)]
                      : rand() % 4 == 0 ? (unsigned char)rand()
                                        : (unsigned char)('a' + rand() % 26);
        }
        size_t consumed = 0;
        size_t written = json_escape(text, (char *)data, length, true, &consumed);
        assert_int_equal(consumed, length);
        size_t expected_length = make_valid(expected, data, length);
        assert_int_equal(unescape(got, text, written), expected_length);
        assert_memory_equal(got, expected, expected_length);
        assert_int_equal(escape_in_pieces(pieces, data, length), written);
        assert_memory_equal(pieces, text, written);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_what_json_must),
        cmocka_unit_test(escapes_line_separators),
        cmocka_unit_test(finds_special_bytes_at_every_offset),
        cmocka_unit_test(replaces_each_invalid_byte),
        cmocka_unit_test(leaves_an_unfinished_sequence),
        cmocka_unit_test(round_trips_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The frames of WebSocket: what RFC 6455 says, rule by rule, in pieces of any size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "terminal/websocket/ws_accept.h"
#include "terminal/websocket/ws_frame.h"

#define TEXT_OF(event) ((const char *)(event).bytes)

static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};

/* Puts a masked frame at `out` with these first bits. Its length. */
static size_t put_frame(unsigned char *out, unsigned first, const void *payload, size_t length)
{
    size_t head = ws_head(out, WS_TEXT, length, mask);
    out[0] = (unsigned char)first;
    if (length > 0) {
        memcpy(out + head, payload, length);
    }
    ws_mask(out + head, length, mask, 0);
    return head + length;
}

/* The next event of bytes that have `count` of *at left. */
static struct ws_event next_event(struct ws_reader *reader, unsigned char **at, size_t *count)
{
    struct ws_event event;
    size_t used = ws_read(reader, *at, *count, &event);
    assert_true(used <= *count);
    *at += used;
    *count -= used;
    return event;
}

/* What one frame with these bytes is to a server. */
static struct ws_event only_event(unsigned first, const void *payload, size_t length)
{
    static unsigned char bytes[70000];
    static struct ws_reader reader;
    unsigned char *at = bytes;
    size_t count = put_frame(bytes, first, payload, length);
    ws_reader_init(&reader, true);
    return next_event(&reader, &at, &count);
}

static void test_the_answer_to_a_key(void **state)
{
    (void)state;
    char accept[WS_ACCEPT_SIZE];
    ws_accept("dGhlIHNhbXBsZSBub25jZQ==", accept); /* section 1.3 */
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_true(ws_key_is_right("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_false(ws_key_is_right(""));
    assert_false(ws_key_is_right("dGhlIHNhbXBsZSBub25jZQ="));
    assert_false(ws_key_is_right("dGhlIHNhbXBsZSBub25jZQ==="));
    assert_false(ws_key_is_right("dGhlIHNhbXBsZSBub25jZQ!="));
    assert_false(ws_key_is_right("dGhlIHNhbXBsZSBub25jZQAA"));
}

static void test_offers(void **state)
{
    (void)state;
    assert_true(ws_offers("a,  b,c", "b") && ws_offers("b", "b") && ws_offers("a\t,b,", "b"));
    assert_false(ws_offers("", "b") || ws_offers("bb, ab", "b") || ws_offers(" , ", "b"));
}

/* The examples of section 5.7. */
static void test_examples(void **state)
{
    (void)state;
    unsigned char masked[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
    unsigned char plain[] = {0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f};
    struct ws_reader reader;
    unsigned char *at = masked;
    size_t count = sizeof(masked);
    ws_reader_init(&reader, true);
    struct ws_event event = next_event(&reader, &at, &count);
    assert_true(event.kind == WS_DATA && event.is_text && event.is_end && count == 0);
    assert_true(event.length == 5 && memcmp(event.bytes, "Hello", 5) == 0);
    ws_reader_init(&reader, false);
    at = plain;
    count = sizeof(plain);
    event = next_event(&reader, &at, &count);
    assert_true(event.kind == WS_DATA && event.length == 5);
    assert_int_equal(next_event(&reader, &at, &count).kind, WS_MORE);
}

static void test_lengths(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, 66000};
    static unsigned char payload[66000];
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        memset(payload, (int)i + 1, lengths[i]);
        struct ws_event event = only_event(0x82, payload, lengths[i]);
        assert_true(event.kind == WS_DATA && event.is_end && !event.is_text);
        assert_int_equal(event.length, lengths[i]);
        assert_memory_equal(event.bytes, payload, lengths[i]);
    }
}

/* A length has one spelling, and 63 bits. */
static void test_wrong_lengths(void **state)
{
    (void)state;
    static const unsigned char heads[][10] = {
        {0x82, 0xfe, 0, 125},
        {0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
        {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        unsigned char bytes[14] = {0};
        unsigned char *at = bytes;
        size_t count = sizeof(bytes);
        struct ws_reader reader;
        memcpy(bytes, heads[i], sizeof(heads[i]));
        ws_reader_init(&reader, true);
        struct ws_event event = next_event(&reader, &at, &count);
        assert_true(event.kind == WS_REFUSED && event.code == WS_PROTOCOL_ERROR);
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const char long_ping[126];
    static const struct {
        const char *payload;
        size_t length;
        unsigned first;
        unsigned code;
    } cases[] = {
        {"", 0, 0xc2, WS_PROTOCOL_ERROR},          /* a reserved bit */
        {"", 0, 0x83, WS_PROTOCOL_ERROR},          /* an unknown opcode */
        {"", 0, 0x8b, WS_PROTOCOL_ERROR},          /* an unknown control opcode */
        {"", 0, 0x80, WS_PROTOCOL_ERROR},          /* a continuation of nothing */
        {"", 0, 0x09, WS_PROTOCOL_ERROR},          /* a ping in fragments */
        {long_ping, 126, 0x89, WS_PROTOCOL_ERROR}, /* one that is too long */
        {"\x03", 1, 0x88, WS_PROTOCOL_ERROR},      /* half a code */
        {"\x03\xe7", 2, 0x88, WS_PROTOCOL_ERROR},  /* 999 */
        {"\x03\xed", 2, 0x88, WS_PROTOCOL_ERROR},  /* 1005, which is never sent */
        {"\x03\xee", 2, 0x88, WS_PROTOCOL_ERROR},  /* 1006 */
        {"\x07\xd0", 2, 0x88, WS_PROTOCOL_ERROR},  /* 2000 */
        {"\x13\x88", 2, 0x88, WS_PROTOCOL_ERROR},  /* 5000 */
        {"\x03\xe8\xff", 3, 0x88, WS_BAD_TEXT},    {"\xff", 1, 0x81, WS_BAD_TEXT},
        {"\xed\xa0\x80", 3, 0x81, WS_BAD_TEXT}, /* a surrogate */
        {"a\xe2\x82", 3, 0x81, WS_BAD_TEXT},    /* half a character */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ws_event event = only_event(cases[i].first, cases[i].payload, cases[i].length);
        assert_int_equal(event.kind, WS_REFUSED);
        assert_int_equal(event.code, cases[i].code);
    }
}

/* A client must mask, a server must not. */
static void test_masks(void **state)
{
    (void)state;
    for (int is_server = 0; is_server < 2; is_server++) {
        unsigned char bytes[WS_HEAD_MOST];
        unsigned char *at = bytes;
        size_t count = ws_head(bytes, WS_BINARY, 0, is_server ? NULL : mask);
        struct ws_reader reader;
        ws_reader_init(&reader, is_server != 0);
        assert_int_equal(next_event(&reader, &at, &count).kind, WS_REFUSED);
    }
}

static void test_closes(void **state)
{
    (void)state;
    struct ws_event event = only_event(0x88, "", 0);
    assert_true(event.kind == WS_CLOSED && event.code == WS_NO_CODE && event.length == 0);
    event = only_event(0x88, "\x0f\xa0you", 5);
    assert_true(event.kind == WS_CLOSED && event.code == 4000 && event.length == 3);
    assert_memory_equal(TEXT_OF(event), "you", 3);
    unsigned char payload[WS_CONTROL_MOST];
    char reason[200];
    memset(reason, 'r', sizeof(reason));
    memcpy(reason + WS_REASON_MOST - 1, "\xc3\xa4", 3); /* a character across the end */
    assert_int_equal(ws_close_payload(payload, 1000, reason), 2 + WS_REASON_MOST - 1);
    assert_int_equal(ws_close_payload(payload, WS_NO_CODE, "none"), 0);
    event = only_event(0x88, payload, ws_close_payload(payload, 1008, "why"));
    assert_true(event.kind == WS_CLOSED && event.code == 1008 && event.length == 3);
}

/* Two fragments of a text, cut within a character, and a ping between them; byte by byte, too. */
static void test_fragments(void **state)
{
    (void)state;
    for (size_t step = 1; step < 40; step++) {
        unsigned char bytes[100];
        char text[20] = "";
        bool is_pinged = false, has_ended = false;
        struct ws_reader reader;
        size_t total = put_frame(bytes, 0x01, "gr\xc3", 3);
        total += put_frame(bytes + total, 0x89, "ping", 4);
        total += put_frame(bytes + total, 0x00, "", 0);
        total += put_frame(bytes + total, 0x80,
                           "\xbc\xc3\x9f"
                           "e",
                           4);
        ws_reader_init(&reader, true);
        for (size_t begin = 0; begin < total;) {
            size_t count = total - begin < step ? total - begin : step;
            struct ws_event event;
            begin += ws_read(&reader, bytes + begin, count, &event);
            assert_int_not_equal(event.kind, WS_REFUSED);
            if (event.kind == WS_PINGED) {
                assert_true(event.length == 4 && memcmp(event.bytes, "ping", 4) == 0);
                assert_string_equal(text, "gr\xc3");
                is_pinged = true;
            } else if (event.kind == WS_DATA) {
                assert_true(event.is_text && !has_ended);
                (void)strncat(text, TEXT_OF(event), event.length);
                has_ended = event.is_end;
            }
        }
        assert_true(is_pinged && has_ended);
        assert_string_equal(text, "gr\xc3\xbc\xc3\x9f"
                                  "e");
    }
}

/* A new message within another. */
static void test_a_message_within_another(void **state)
{
    (void)state;
    unsigned char bytes[40];
    unsigned char *at = bytes;
    struct ws_reader reader;
    size_t count = put_frame(bytes, 0x02, "x", 1);
    count += put_frame(bytes + count, 0x82, "y", 1);
    ws_reader_init(&reader, true);
    assert_int_equal(next_event(&reader, &at, &count).kind, WS_DATA);
    assert_int_equal(next_event(&reader, &at, &count).kind, WS_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_answer_to_a_key),
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_wrong_lengths),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_closes),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_a_message_within_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

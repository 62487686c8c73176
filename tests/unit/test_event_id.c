/*
 * Event ids and the beginnings of events; numbers in decimal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/decimal.h"
#include "procd/log/event_id.h"

static void reads_ids(void **state)
{
    (void)state;
    struct event_id id;
    static const char whole[] = "550e8400-1234-17";
    assert_true(event_id_parse(whole, strlen(whole), &id));
    assert_int_equal(id.offset, 1234);
    assert_int_equal(id.line, 17);
    assert_string_equal(id.text, whole);
    assert_true(event_id_is_of(&id, "550e8400-e29b-41d4-a716-446655440000"));
    assert_false(event_id_is_of(&id, "550e8401-e29b-41d4-a716-446655440000"));
    static const char largest[] = "ffffffff-18446744073709551615-18446744073709551615";
    assert_true(event_id_parse(largest, strlen(largest), &id));
    assert_true(id.offset == UINT64_MAX && id.line == UINT64_MAX);
    assert_int_equal(strlen(id.text), EVENT_ID_SIZE - 1);
}

static void refuses_what_is_no_id(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "-",
        "-1",
        "+1",
        " 1",
        "1 ",
        "01",
        "0x10",
        "1.0",
        "nonsense",
        "17",
        "12345678",
        "18446744073709551616",
        "99999999999999999999999999999999999999999999999999999999999999999999999999",
        "abcdef01",
        "550e8400-",
        "550e8400-1",
        "550e8400-1-",
        "550e8400-1-1-",
        "550e8400-1-1-1",
        "550e8400-1--1",
        "550e8400-01-1",
        "550e8400-1-01",
        "550e8400-1-1\n",
        "550E8400-1-1",
        "550e840-1-1",
        "550e84000-1-1",
        "550e840g-1-1",
        "550e8400-18446744073709551616-1",
        "550e8400-1-18446744073709551616",
    };
    struct event_id id;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(event_id_parse(wrong[i], strlen(wrong[i]), &id));
    }
    assert_false(event_id_parse("550e840\0-1-1", 12, &id));
}

static void knows_the_end_of_a_stream(void **state)
{
    (void)state;
    static const char *const others[] = {"",
                                         "end",
                                         "-end",
                                         "550e8400-End",
                                         "550e840-end",
                                         "550e8400-end-1",
                                         "550e8400-1-1",
                                         "550e8400-en"};
    char text[EVENT_ID_SIZE];
    struct event_id id;
    event_id_render_end("550e8400-e29b-41d4-a716-446655440000", text);
    assert_string_equal(text, "550e8400-end");
    assert_true(event_id_is_end(text));
    assert_false(event_id_parse(text, strlen(text), &id)); /* it names no place in a log */
    event_id_render_end("nonsense", text);
    assert_string_equal(text, "00000000-end");
    assert_true(event_id_is_end(text));
    event_id_render_end("", text);
    assert_true(event_id_is_end(text));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(event_id_is_end(others[i]));
    }
}

static void assert_line(const char *text, size_t length)
{
    struct event event = event_parse(text, length);
    assert_int_equal(event.kind, EVENT_LINE);
    assert_string_equal(event.id.text, "550e8400-1234-17");
    assert_true(event_is_line(text, EVENT_KIND_SIZE));
    assert_int_equal(event_parse(text, length + 1).kind, EVENT_UNKNOWN); /* not its end */
    for (size_t cut = 0; cut < length; cut++) {
        assert_int_equal(event_parse(text, cut).kind, EVENT_UNKNOWN);
    }
}

static void reads_events(void **state)
{
    (void)state;
    static const char last[] = "event: log\ndata: {\"x\":1}\nid: 550e8400-1234-17\n\ne";
    static const char *const others[] = {"event: log\ndata: {}\n\n",
                                         "id: 550e8400-1234-17\nevent: log\ndata: {}\n\n",
                                         "event: log\nid: x\n\n",
                                         "event: log\n\n",
                                         "id: 550e8400-1234-17\n",
                                         "event: output\nid: 550e8400-1-2\n\n",
                                         "event: log\ndata: {}\n id: 550e8400-1-2\n\n",
                                         "\n\n",
                                         "\n"};
    assert_line(last, sizeof(last) - 2);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(event_parse(others[i], strlen(others[i])).kind, EVENT_UNKNOWN);
    }
    assert_false(event_is_line("event: lo", 9));
    assert_false(event_is_line("event: gap\n", 11));
}

static void reads_gaps(void **state)
{
    (void)state;
    static const char gap[] = "event: gap\ndata: {\"missed_lines\":18446744073709551615}\n\n";
    struct event event = event_parse(gap, sizeof(gap) - 1);
    assert_true(sizeof(gap) - 1 <= EVENT_EDGE);
    assert_int_equal(event.kind, EVENT_GAP);
    assert_true(event.missed == UINT64_MAX);
    for (size_t length = 0; length < sizeof(gap) - 1; length++) {
        assert_int_equal(event_parse(gap, length).kind, EVENT_UNKNOWN);
    }
    assert_int_equal(event_parse(gap, sizeof(gap)).kind, EVENT_UNKNOWN); /* and its NUL */
}

/* What the edges of a long event leave out is the line. */
static void reads_the_edges_of_a_long_event(void **state)
{
    (void)state;
    static const char id[] = "id: 550e8400-18446744073709551615-18446744073709551615\n";
    char event[2000];
    char edges[2 * EVENT_EDGE];
    int length = snprintf(event, sizeof(event), "event: log\ndata: {%01000d}\n%s\n", 0, id);
    memcpy(edges, event, EVENT_EDGE);
    memcpy(edges + EVENT_EDGE, event + length - EVENT_EDGE, EVENT_EDGE);
    struct event parsed = event_parse(edges, sizeof(edges));
    assert_int_equal(parsed.kind, EVENT_LINE);
    assert_true(parsed.id.offset == UINT64_MAX && parsed.id.line == UINT64_MAX);
}

static void renders_numbers(void **state)
{
    (void)state;
    uint64_t number = 1;
    for (int digits = 1; digits <= 20; digits++) {
        const uint64_t some[] = {number - 1, number, number + 1, number * 9, number / 7 * 3};
        for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
            char expected[DECIMAL_MAX + 1];
            char text[DECIMAL_MAX];
            size_t length =
                (size_t)snprintf(expected, sizeof(expected), "%llu", (unsigned long long)some[i]);
            assert_int_equal(decimal_render(text, some[i]), length);
            assert_memory_equal(text, expected, length);
        }
        number *= 10;
    }
    char text[DECIMAL_MAX];
    assert_int_equal(decimal_render(text, UINT64_MAX), DECIMAL_MAX);
    assert_memory_equal(text, "18446744073709551615", DECIMAL_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_ids),
        cmocka_unit_test(refuses_what_is_no_id),
        cmocka_unit_test(knows_the_end_of_a_stream),
        cmocka_unit_test(reads_events),
        cmocka_unit_test(reads_gaps),
        cmocka_unit_test(reads_the_edges_of_a_long_event),
        cmocka_unit_test(renders_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

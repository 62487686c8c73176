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
    assert_true(id.numbered);
    assert_int_equal(id.offset, 1234);
    assert_int_equal(id.line, 17);
    assert_string_equal(id.text, whole);
    assert_true(event_id_is_of(&id, "550e8400-e29b-41d4-a716-446655440000"));
    assert_false(event_id_is_of(&id, "550e8401-e29b-41d4-a716-446655440000"));
    static const char largest[] = "ffffffff-18446744073709551615-18446744073709551615";
    assert_true(event_id_parse(largest, strlen(largest), &id));
    assert_true(id.offset == UINT64_MAX && id.line == UINT64_MAX);
    assert_int_equal(strlen(id.text), EVENT_ID_SIZE - 1);
    assert_true(event_id_parse("12345678", 8, &id)); /* bare, though it could begin a tag */
    assert_false(id.numbered);
    assert_int_equal(id.offset, 12345678);
    assert_true(event_id_is_of(&id, "550e8400-e29b-41d4-a716-446655440000"));
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

static void reads_the_beginnings_of_events(void **state)
{
    (void)state;
    static const char line[] = "id: 550e8400-1234-17\nevent: log\ndata: {}\n\n";
    static const char gap[] = "event: gap\ndata: {\"missed_lines\":18446744073709551615}\n\nid: ";
    struct event_head head = event_head_parse(line, sizeof(line) - 1);
    assert_int_equal(head.kind, EVENT_LINE);
    assert_string_equal(head.id.text, "550e8400-1234-17");
    for (size_t length = 0; length < sizeof("id: 550e8400-1234-17\n") - 1; length++) {
        assert_int_equal(event_head_parse(line, length).kind, EVENT_UNKNOWN);
    }
    assert_true(sizeof(gap) - 5 <= EVENT_HEAD_MAX);
    head = event_head_parse(gap, sizeof(gap) - 1);
    assert_int_equal(head.kind, EVENT_GAP);
    assert_true(head.missed == UINT64_MAX);
    assert_int_equal(head.length, sizeof(gap) - 5);
    for (size_t length = 0; length < sizeof(gap) - 5; length++) {
        assert_int_equal(event_head_parse(gap, length).kind, EVENT_UNKNOWN);
    }
    assert_int_equal(event_head_parse("id: x\n", 6).kind, EVENT_UNKNOWN);
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
        cmocka_unit_test(reads_the_beginnings_of_events),
        cmocka_unit_test(renders_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

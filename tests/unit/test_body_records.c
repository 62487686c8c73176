/*
 * The body of a request, read past libfcgi: whole, however its records are cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "fcgi-app/http/body_records.h"

#define BEGIN "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"
#define NONE  "\1\4\0\1\0\0\0\0"
#define BODY                                                                                       \
    "\1\5\0\1\0\5\3\0"                                                                             \
    "01234xxx"                                                                                     \
    "\1\5\0\1\0\1\0\0"                                                                             \
    "5"                                                                                            \
    "\1\5\0\1\0\4\0\0"                                                                             \
    "6789"
#define END "\1\5\0\1\0\0\0\0"

/* Reads the next of a body with the records around it, `most` bytes at once, to `text`. */
static ssize_t read_parts(int reader, struct record_filter *filter, char *text, size_t most)
{
    char buffer[512];
    size_t length = 0;
    struct body_parts parts;
    ssize_t got = body_records_read_parts(reader, filter, buffer, most, &parts);
    for (size_t i = 0; got > 0 && i < parts.count; i++) {
        memcpy(text + length, parts.part[i].data, parts.part[i].length);
        length += parts.part[i].length;
    }
    assert_int_equal(length, got > 0 ? got : 0);
    return got;
}

static bool in_parts; /* the body is read so */

static ssize_t read_some(int reader, struct record_filter *filter, char *text, size_t most)
{
    return in_parts ? read_parts(reader, filter, text, most)
                    : body_records_read(reader, filter, text, most);
}

/* Reads the body of what comes, at most `most` bytes at a time, when the filter has seen `seen`
 * bytes, of which the body is in text[0..*length). The last result. */
static ssize_t read_body(const char *bytes, size_t size, size_t seen, size_t most, char *text,
                         size_t *length)
{
    int ends[2];
    ssize_t got;
    struct record_filter filter = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    cleanup_fd int writer = ends[0], reader = ends[1];
    assert_true(record_filter_pass(&filter, (const unsigned char *)bytes, seen));
    *length = (size_t)filter.body_size;
    assert_int_equal(send(writer, bytes + seen, size - seen, 0), size - seen);
    assert_int_equal(shutdown(writer, SHUT_WR), 0);
    while ((got = read_some(reader, &filter, text + *length, most)) > 0) {
        assert_true((size_t)got <= most);
        *length += (size_t)got;
        assert_int_equal(*length, filter.body_size);
    }
    return got;
}

static void test_a_body_in_any_pieces(void **state)
{
    (void)state;
    static const char bytes[] = BEGIN NONE BODY END;
    const size_t size = sizeof(bytes) - 1, begin = sizeof(BEGIN NONE) - 1;
    for (size_t seen = begin; seen <= size; seen++) {
        for (size_t i = 0; i < 100; i++) {
            char text[32] = "0123456789";
            size_t length;
            in_parts = i >= 50;
            assert_int_equal(read_body(bytes, size, seen, 1 + i % 50, text, &length), 0);
            assert_int_equal(length, 10);
            assert_memory_equal(text, "0123456789", 10);
        }
    }
}

/* More records than there are parts. */
static void test_a_body_of_many_records(void **state)
{
    (void)state;
    char bytes[512] = BEGIN NONE, text[64];
    size_t length, size = sizeof(BEGIN NONE) - 1;
    for (char i = 0; i < 2 * BODY_PARTS; i++) {
        static const char header[RECORD_HEADER_SIZE] = {1, 5, 0, 1, 0, 1, 0, 0};
        memcpy(bytes + size, header, sizeof(header));
        bytes[size + RECORD_HEADER_SIZE] = (char)('a' + i);
        size += RECORD_HEADER_SIZE + 1;
    }
    memcpy(bytes + size, END, sizeof(END) - 1);
    in_parts = true;
    assert_int_equal(read_body(bytes, size + sizeof(END) - 1, sizeof(BEGIN NONE) - 1, sizeof(bytes),
                               text, &length),
                     0);
    assert_int_equal(length, 2 * BODY_PARTS);
    assert_memory_equal(text, "abcdefghijklmnopqrstuvwx", (size_t)2 * BODY_PARTS);
}

/* What no web server sends before the answer. */
static void test_parts_with_the_next_request_are_refused(void **state)
{
    (void)state;
    static const char bytes[] = BEGIN NONE BODY END BEGIN;
    char text[64];
    size_t length;
    in_parts = true;
    assert_int_equal(
        read_body(bytes, sizeof(bytes) - 1, sizeof(BEGIN NONE) - 1, 512, text, &length), -1);
}

/* Nothing after the end is read: it is the next request's. */
static void test_it_ends_with_the_request(void **state)
{
    (void)state;
    static const char bytes[] = BEGIN NONE BODY END BEGIN;
    char text[32], rest[32];
    int ends[2];
    ssize_t got;
    struct record_filter filter = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    cleanup_fd int writer = ends[0], reader = ends[1];
    assert_int_equal(send(writer, bytes, sizeof(bytes) - 1, 0), sizeof(bytes) - 1);
    assert_int_equal(read(reader, text, sizeof(BEGIN NONE) - 1), sizeof(BEGIN NONE) - 1);
    assert_true(record_filter_pass(&filter, (const unsigned char *)text, sizeof(BEGIN NONE) - 1));
    while ((got = body_records_read(reader, &filter, text, sizeof(text))) > 0) {
    }
    assert_int_equal(got, 0);
    assert_int_equal(body_records_read(reader, &filter, text, sizeof(text)), 0); /* again */
    assert_int_equal(read(reader, rest, sizeof(rest)), sizeof(BEGIN) - 1);
}

static void test_a_cut_body_is_a_failure(void **state)
{
    (void)state;
    static const char bytes[] = BEGIN NONE BODY END;
    const size_t begin = sizeof(BEGIN NONE) - 1;
    for (size_t size = begin; size < sizeof(bytes) - 1; size++) {
        char text[32];
        size_t length;
        in_parts = size % 2 == 0;
        assert_int_equal(read_body(bytes, size, begin, 4, text, &length), -1);
    }
}

static void test_what_no_web_server_sends(void **state)
{
    (void)state;
    static const char *const rows[] = {"\1\5\0\2\0\0\0\0", "\1\2\0\1\0\0\0\0", "\1\5\0\1\0\0\1\0x",
                                       "\2\5\0\1\0\0\0\0"};
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        char bytes[sizeof(BEGIN NONE BODY) + 16], text[32];
        in_parts = i % 2 == 1;
        size_t length = sizeof(BEGIN NONE BODY) - 1;
        memcpy(bytes, BEGIN NONE BODY, length);
        memcpy(bytes + length, rows[i / 2], 8);
        assert_int_equal(
            read_body(bytes, length + 8, sizeof(BEGIN NONE) - 1, sizeof(text) / 2, text, &length),
            -1);
        assert_true(length <= 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_in_any_pieces),
        cmocka_unit_test(test_a_body_of_many_records),
        cmocka_unit_test(test_parts_with_the_next_request_are_refused),
        cmocka_unit_test(test_it_ends_with_the_request),
        cmocka_unit_test(test_a_cut_body_is_a_failure),
        cmocka_unit_test(test_what_no_web_server_sends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

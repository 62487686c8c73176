/*
 * The outlet: whatever a full connection takes at a time, the records on it are whole and in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/http/outlet.h"

#define REQUEST_ID 0x102

/* What arrived at nginx's end, taken apart. */
struct reader {
    int fd;
    unsigned char header[RECORD_HEADER_SIZE];
    size_t header_length;
    size_t record_left;
    char *answer;
    size_t length;
    int types[64];
    int records;
};

static void take_header(struct reader *reader)
{
    const unsigned char *header = reader->header;
    assert_int_equal(header[0], 1);
    assert_int_equal(header[2] << 8 | header[3], REQUEST_ID);
    assert_int_equal(header[6], 0);
    reader->record_left = (size_t)(header[4] << 8 | header[5]);
    if (reader->records < 64) {
        reader->types[reader->records] = header[1];
    }
    reader->records++;
}

static void take_byte(struct reader *reader, char byte)
{
    if (reader->record_left > 0) {
        reader->answer[reader->length++] = byte;
        reader->record_left--;
        return;
    }
    reader->header[reader->header_length++] = (unsigned char)byte;
    if (reader->header_length == RECORD_HEADER_SIZE) {
        reader->header_length = 0;
        take_header(reader);
    }
}

/* Reads at most `most` bytes. */
static void read_some(struct reader *reader, size_t most)
{
    char buffer[70000];
    ssize_t count =
        recv(reader->fd, buffer, most < sizeof(buffer) ? most : sizeof(buffer), MSG_DONTWAIT);
    assert_true(count >= 0 || errno == EAGAIN);
    for (ssize_t i = 0; i < count; i++) {
        take_byte(reader, buffer[i]);
    }
}

static void connect_outlet(struct outlet *outlet, struct reader *reader, size_t room)
{
    int pair[2];
    int small = 4096;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    outlet_init(outlet, pair[0], REQUEST_ID, NULL);
    *reader = (struct reader){.fd = pair[1], .answer = malloc(room)};
    assert_non_null(reader->answer);
}

static void disconnect(struct outlet *outlet, struct reader *reader)
{
    (void)close(outlet->fd);
    (void)close(reader->fd);
    free(reader->answer);
}

/* Sends `length` bytes in pieces while the other end reads `step` bytes at a time. */
static void pass(size_t length, size_t piece, size_t step)
{
    cleanup_free char *data = malloc(length);
    for (size_t i = 0; i < length; i++) {
        data[i] = (char)(i * 7 + i / 251);
    }
    struct outlet outlet;
    struct reader reader;
    connect_outlet(&outlet, &reader, length + 64);
    for (size_t at = 0; at < length;) {
        size_t size = length - at < piece ? length - at : piece;
        ssize_t sent = outlet_send(&outlet, data + at, size);
        assert_true(sent >= 0 && (size_t)sent <= size);
        at += (size_t)sent;
        read_some(&reader, step);
    }
    while (outlet_end(&outlet) == 0) {
        read_some(&reader, step);
    }
    for (int i = 0; i < 1000 && reader.length < length + 8; i++) {
        read_some(&reader, 70000);
    }
    assert_int_equal(reader.length, length + 8); /* the end record holds 8 */
    assert_memory_equal(reader.answer, data, length);
    assert_memory_equal(reader.answer + length, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(reader.record_left + reader.header_length, 0);
    if (reader.records <= 64) {
        assert_int_equal(reader.types[reader.records - 1], RECORD_END_REQUEST);
        for (int i = 0; i < reader.records - 1; i++) {
            assert_int_equal(reader.types[i], RECORD_STDOUT);
        }
    }
    disconnect(&outlet, &reader);
}

static void test_records(void **state)
{
    (void)state;
    pass(1, 1, 70000);
    pass(RECORD_MAX, RECORD_MAX, 70000);
    pass(RECORD_MAX + 1, RECORD_MAX + 1, 70000);
    pass(1000000, 131072, 70000);
    pass(300000, 131072, 997);
    pass(100000, 100000, 13);
    pass(20000, 3, 70000);
}

static void test_a_client_that_leaves(void **state)
{
    (void)state;
    static const char data[100000];
    struct outlet outlet;
    struct reader reader;
    connect_outlet(&outlet, &reader, 1);
    assert_true(outlet_send(&outlet, data, sizeof(data)) < (ssize_t)sizeof(data));
    assert_int_equal(close(reader.fd), 0);
    reader.fd = -1;
    assert_int_equal(outlet_send(&outlet, data, sizeof(data)), -1);
    assert_int_equal(outlet_end(&outlet), -1);
    disconnect(&outlet, &reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_a_client_that_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

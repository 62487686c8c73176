/*
 * The codec: what is written is read, and what is no message is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "procd/wire/protocol.h"

static int pair[2];
static char packet[MESSAGE_PACKET_MAX];

static int open_pair(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
}

static int close_pair(void **state)
{
    (void)state;
    close_fd(&pair[0]);
    close_fd(&pair[1]);
    return 0;
}

static int descriptors_in_use(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static int receive(struct incoming *incoming)
{
    return message_receive(pair[1], packet, sizeof(packet), incoming, 0);
}

static void carries_fields_and_descriptors(void **state)
{
    (void)state;
    struct message message;
    struct incoming incoming;
    int before = descriptors_in_use();
    message_init(&message, MESSAGE_RUN);
    message_add_text(&message, FIELD_CMD, "echo \xc3\xa4");
    message_add_text(&message, FIELD_ENV, "A=1");
    message_add_text(&message, FIELD_ENV, "");
    message_add_number(&message, FIELD_CODE, -1);
    message_add_number(&message, FIELD_STARTED_AT, INT64_MAX);
    assert_int_equal(message_send(pair[0], &message, (const int[]){STDOUT_FILENO, pair[0]}, 2), 0);
    message_clear(&message);

    assert_int_equal(receive(&incoming), 1);
    assert_int_equal(incoming.type, MESSAGE_RUN);
    assert_int_equal(message_open(&incoming), 0);
    assert_string_equal(message_text(&incoming, FIELD_CMD), "echo \xc3\xa4");
    assert_int_equal(message_number(&incoming, FIELD_CODE, 0), -1);
    assert_true(message_number(&incoming, FIELD_STARTED_AT, 0) == INT64_MAX);
    assert_int_equal(message_number(&incoming, FIELD_PID, 77), 77);
    assert_null(message_text(&incoming, FIELD_CWD));
    struct field field = {0};
    const enum field_tag order[] = {FIELD_CMD, FIELD_ENV, FIELD_ENV, FIELD_CODE, FIELD_STARTED_AT};
    for (size_t i = 0; i < 5; i++) {
        assert_true(message_next(&incoming, &field));
        assert_int_equal(field.tag, order[i]);
    }
    assert_false(message_next(&incoming, &field));
    int fd = message_take_descriptor(&incoming, 0);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    assert_int_equal(message_take_descriptor(&incoming, 0), -1); /* once */
    assert_int_equal(message_take_descriptor(&incoming, 2), -1);
    incoming_clear(&incoming); /* closes the other one */
    assert_int_equal(descriptors_in_use(), before);
}

/* Each job of a list is a group of fields, and each process that it has left one within that. */
static void splits_fields_into_groups(void **state)
{
    (void)state;
    struct message message;
    struct incoming incoming;
    struct incoming none = {0};
    struct incoming job = {0};
    struct incoming left = {0};
    message_init(&message, MESSAGE_JOBS);
    message_add_number(&message, FIELD_MORE, 1); /* of no group */
    message_add_text(&message, FIELD_ID, "one");
    message_add_text(&message, FIELD_ID, "two");
    message_add_number(&message, FIELD_LEFT_PID, 7);
    message_add_number(&message, FIELD_LEFT_PID, 8);
    message_add_text(&message, FIELD_LEFT_NAME, "eight");
    assert_int_equal(message_send(pair[0], &message, NULL, 0), 0);
    message_clear(&message);
    assert_int_equal(receive(&incoming), 1);
    assert_int_equal(message_open(&incoming), 0);

    assert_false(message_next_group(&incoming, FIELD_CWD, &none));
    assert_true(message_next_group(&incoming, FIELD_ID, &job));
    assert_string_equal(message_text(&job, FIELD_ID), "one");
    assert_int_equal(message_number(&job, FIELD_MORE, -1), -1);
    assert_int_equal(message_number(&job, FIELD_LEFT_PID, -1), -1);
    assert_true(message_next_group(&incoming, FIELD_ID, &job));
    assert_string_equal(message_text(&job, FIELD_ID), "two");
    assert_true(message_next_group(&job, FIELD_LEFT_PID, &left));
    assert_int_equal(message_number(&left, FIELD_LEFT_PID, -1), 7);
    assert_null(message_text(&left, FIELD_LEFT_NAME));
    assert_true(message_next_group(&job, FIELD_LEFT_PID, &left));
    assert_string_equal(message_text(&left, FIELD_LEFT_NAME), "eight");
    assert_false(message_next_group(&job, FIELD_LEFT_PID, &left));
    assert_false(message_next_group(&incoming, FIELD_ID, &job));
    incoming_clear(&incoming);
}

static void carries_large_messages_and_passes_them_on(void **state)
{
    (void)state;
    static const size_t lengths[] = {MESSAGE_INLINE_MAX - 8, MESSAGE_INLINE_MAX - 7, 10000000};
    for (size_t i = 0; i < 3; i++) {
        struct message message;
        struct incoming incoming;
        struct incoming copy;
        char other[MESSAGE_PACKET_MAX];
        int before = descriptors_in_use();
        char *text = malloc(lengths[i]);
        memset(text, 'x', lengths[i] - 1);
        text[lengths[i] - 1] = '\0';
        message_init(&message, MESSAGE_START);
        message_add_text(&message, FIELD_CMD, text);
        assert_int_equal(message_send(pair[0], &message, &pair[0], 1), 0);
        message_clear(&message);
        assert_int_equal(receive(&incoming), 1);
        assert_int_equal(incoming.in_file, i > 0);
        assert_int_equal(message_forward(pair[0], &incoming), 0);
        incoming_clear(&incoming);
        assert_int_equal(message_receive(pair[1], other, sizeof(other), &copy, 0), 1);
        assert_int_equal(message_open(&copy), 0);
        assert_string_equal(message_text(&copy, FIELD_CMD), text);
        int fd = message_take_descriptor(&copy, 0);
        struct stat status;
        assert_int_equal(fstat(fd, &status), 0);
        assert_true(S_ISSOCK(status.st_mode)); /* and not the memory file */
        close(fd);
        incoming_clear(&copy);
        free(text);
        assert_int_equal(descriptors_in_use(), before);
    }
}

static void tells_end_and_emptiness(void **state)
{
    (void)state;
    struct incoming incoming;
    assert_int_equal(receive(&incoming), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(message_send_plain(pair[0], MESSAGE_PING), 0);
    close_fd(&pair[0]);
    assert_int_equal(receive(&incoming), 1);
    assert_int_equal(message_open(&incoming), 0);
    incoming_clear(&incoming);
    assert_int_equal(receive(&incoming), 0);
    assert_int_equal(message_send_plain(pair[1], MESSAGE_PING), -1);
    assert_int_equal(errno, EPIPE);
}

/* Header and fields by hand. */
struct raw {
    char magic[4];
    uint16_t type, place;
    uint64_t length;
    struct {
        uint16_t tag, zero;
        uint32_t length;
        char value[8];
    } field;
};

static struct raw sound(void)
{
    return (struct raw){.magic = {'p', 'c', 'd', '1'},
                        .type = MESSAGE_KILL,
                        .length = 16,
                        .field = {.tag = FIELD_ID, .length = 4, .value = "abc"}};
}

/* 1 if it was taken; -1 if it was refused by either step, for `error`. */
static int deliver_for(const void *data, size_t length, int error)
{
    struct incoming incoming;
    assert_int_equal(send(pair[0], data, length, 0), (ssize_t)length);
    int received = receive(&incoming);
    if (received == 1) {
        received = message_open(&incoming) == 0 ? 1 : -1;
        incoming_clear(&incoming);
    }
    if (received < 0) {
        assert_int_equal(errno, error);
    }
    return received;
}

static int deliver(const void *data, size_t length)
{
    return deliver_for(data, length, EBADMSG);
}

static void refuses_what_is_no_message(void **state)
{
    (void)state;
    struct raw raw = sound();
    assert_int_equal(deliver(&raw, sizeof(raw)), 1);
    raw.field.tag = 999; /* from a later version: skipped */
    assert_int_equal(deliver(&raw, sizeof(raw)), 1);
    assert_int_equal(deliver("x", 1), -1);
    raw = sound();
    raw.magic[3] = '2';
    assert_int_equal(deliver_for(&raw, sizeof(raw), EPROTONOSUPPORT), -1);
    raw.magic[0] = 'q';
    assert_int_equal(deliver(&raw, sizeof(raw)), -1);
    raw = sound();
    for (size_t cut = 1; cut < sizeof(raw); cut++) {
        assert_int_equal(deliver(&raw, cut), -1);
    }
    raw.length = 24;
    assert_int_equal(deliver(&raw, sizeof(raw)), -1);
    raw = sound();
    raw.place = 1; /* a file that is not there */
    raw.length = 16;
    assert_int_equal(deliver(&raw, 16), -1);
    raw.place = 2;
    assert_int_equal(deliver(&raw, 16), -1);
    static const uint32_t lengths[] = {0, 9, 16, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < 5; i++) {
        raw = sound();
        raw.field.length = lengths[i];
        assert_int_equal(deliver(&raw, sizeof(raw)), -1);
    }
    raw = sound();
    raw.field.value[3] = 'd'; /* no NUL at the end */
    assert_int_equal(deliver(&raw, sizeof(raw)), -1);
    raw = sound();
    raw.field.value[1] = '\0'; /* one inside */
    assert_int_equal(deliver(&raw, sizeof(raw)), -1);
    raw = sound();
    raw.field.tag = FIELD_REQUEST_ID;
    assert_int_equal(deliver(&raw, sizeof(raw)), 1);
    raw.field.value[3] = 'd';
    assert_int_equal(deliver(&raw, sizeof(raw)), -1);
    raw = sound();
    raw.field.tag = FIELD_PID; /* a number of four bytes */
    assert_int_equal(deliver(&raw, sizeof(raw)), -1);
}

static void refuses_what_is_too_large_for_the_reader(void **state)
{
    (void)state;
    struct message message;
    struct incoming incoming;
    int before = descriptors_in_use();
    message_init(&message, MESSAGE_START);
    for (int i = 0; i < 100; i++) {
        message_add_number(&message, FIELD_CODE, i);
    }
    assert_int_equal(message_send(pair[0], &message, &pair[0], 1), 0);
    message_clear(&message);
    assert_int_equal(message_receive(pair[1], packet, MESSAGE_PACKET_SMALL, &incoming, 0), -1);
    assert_int_equal(errno, EBADMSG);
    assert_int_equal(descriptors_in_use(), before);
}

/* A file that its sender can still cut would kill its reader with SIGBUS. */
static void refuses_a_file_without_seals(void **state)
{
    (void)state;
    struct raw raw = sound();
    struct incoming incoming;
    int before = descriptors_in_use();
    raw.place = 1;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, &raw.field, 16), 16);
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = &raw, .iov_len = 16};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof(control.space)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    for (int sealed = 0; sealed < 2; sealed++) {
        memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
        assert_int_equal(sendmsg(pair[0], &header, 0), 16);
        assert_int_equal(receive(&incoming), 1);
        assert_int_equal(message_open(&incoming), sealed ? 0 : -1);
        incoming_clear(&incoming);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
    }
    close(fd);
    assert_int_equal(descriptors_in_use(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(carries_fields_and_descriptors, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(splits_fields_into_groups, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(carries_large_messages_and_passes_them_on, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(tells_end_and_emptiness, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_message, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(refuses_what_is_too_large_for_the_reader, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(refuses_a_file_without_seals, open_pair, close_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

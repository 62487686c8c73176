/*
 * The decoder of procd's messages: over bytes in memory, and over packets with descriptors and
 * memory files on a socket, as a client that is none could send them. What is accepted means the
 * same when it is encoded and decoded again. No descriptor leaks.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/memory_file.h"
#include "procd/wire/protocol.h"
#include "tests/fuzz/fuzz.h"

#define PACKETS_MAX 16

/* ---- what was accepted ---- */

static void check_value(const struct incoming *incoming, const struct field *field)
{
    const char *end = incoming->fields + incoming->fields_length;
    if (field->text != NULL) {
        size_t length = strlen(field->text);
        assert(field->text >= incoming->fields && field->text + length < end);
    }
    if (field->bytes != NULL) {
        assert(field->bytes >= incoming->fields && field->bytes + field->length <= end);
    }
}

static void copy_field(struct message *copy, const struct field *field)
{
    if (field->text != NULL) {
        message_add_text(copy, field->tag, field->text);
    } else if (field->bytes != NULL) {
        message_add_bytes(copy, field->tag, field->bytes, field->length);
    } else if (field->tag >= FIELD_PID && field->tag < FIELD_NUMBER_END) {
        message_add_number(copy, field->tag, field->number);
    }
}

/* The next field of a tag that has a meaning. */
static bool next_known(const struct incoming *incoming, struct field *field)
{
    while (message_next(incoming, field)) {
        if (field->text != NULL || field->bytes != NULL ||
            (field->tag >= FIELD_PID && field->tag < FIELD_NUMBER_END)) {
            return true;
        }
    }
    return false;
}

static void check_same(const struct incoming *one, const struct incoming *other)
{
    struct field a = {0};
    struct field b = {0};
    assert(one->type == other->type);
    while (next_known(one, &a)) {
        assert(next_known(other, &b) && a.tag == b.tag && a.number == b.number);
        assert(a.text == NULL || strcmp(a.text, b.text) == 0);
        assert(a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0));
    }
    assert(!next_known(other, &b));
}

/* There are as many groups as fields of that tag, and they lie one behind the other. */
static void check_groups(const struct incoming *incoming, enum field_tag tag)
{
    struct field field = {0};
    struct incoming group = {0};
    while (message_next(incoming, &field)) {
        if (field.tag == tag) {
            assert(message_next_group(incoming, tag, &group));
            assert(group.fields + group.fields_length >= incoming->fields + field.next);
            assert(group.fields + group.fields_length <=
                   incoming->fields + incoming->fields_length);
        }
    }
    assert(!message_next_group(incoming, tag, &group));
}

static void check_getters(const struct incoming *incoming)
{
    for (int tag = 0; tag <= FIELD_BYTES_END; tag++) {
        size_t length = 0;
        check_groups(incoming, (enum field_tag)tag);
        (void)message_text(incoming, (enum field_tag)tag);
        (void)message_number(incoming, (enum field_tag)tag, -1);
        assert(message_bytes(incoming, (enum field_tag)tag, &length) != NULL || length == 0);
    }
}

/* Encodes what was decoded, sends it, and decodes it again. */
static void check_message(const struct incoming *incoming, int sender, int receiver)
{
    char buffer[MESSAGE_PACKET_MAX];
    cleanup_message struct message copy;
    cleanup_incoming struct incoming again = {0};
    struct field field = {0};
    message_init(&copy, incoming->type);
    while (message_next(incoming, &field)) {
        check_value(incoming, &field);
        copy_field(&copy, &field);
    }
    check_getters(incoming);
    assert(message_send(sender, &copy, NULL, 0) == 0);
    assert(message_receive(receiver, buffer, sizeof(buffer), &again, 0) == 1);
    assert(message_open(&again) == 0);
    check_same(incoming, &again);
}

static void check_parse(const char *data, size_t length, int sender, int receiver)
{
    struct incoming incoming;
    if (message_parse(data, length, &incoming) == 0) {
        check_message(&incoming, sender, receiver);
    } else {
        assert(errno == EBADMSG || errno == EPROTONOSUPPORT);
    }
}

/* ---- packets ---- */

/* What a packet brings, out of one byte of the input. */
enum {
    WITH_DESCRIPTORS = 3, /* so many, */
    WITH_FILE = 4,        /* the first of them a memory file with the bytes that follow, */
    WITH_SEALS = 8,       /* sealed, as message_send() does it */
    WITH_SMALL_ROOM = 16, /* the receiver has less room */
};

static int make_file(struct input *input, bool sealed)
{
    size_t length = (size_t)input_number(input, 2);
    const char *bytes = input_bytes(input, &length);
    int fd = memory_file_create("fuzz");
    assert(fd >= 0 && io_write_all(fd, bytes, length) == 0);
    if (sealed) {
        assert(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    }
    return fd;
}

static void send_packet(int sender, struct input *input, unsigned with)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * WITH_DESCRIPTORS)];
    } control = {0};
    int descriptors[WITH_DESCRIPTORS] = {sender, sender, sender};
    size_t count = with & WITH_DESCRIPTORS;
    size_t length = (size_t)input_number(input, 2);
    const char *bytes = input_bytes(input, &length);
    cleanup_fd int file = -1;
    if (count > 0 && (with & WITH_FILE) != 0) {
        file = make_file(input, (with & WITH_SEALS) != 0);
        descriptors[0] = file;
    }
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        header.msg_control = control.space;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(rights), descriptors, sizeof(int) * count);
    }
    assert(sendmsg(sender, &header, MSG_NOSIGNAL) == (ssize_t)length);
}

static void receive_packet(int sender, int receiver, size_t room)
{
    char buffer[MESSAGE_PACKET_MAX];
    cleanup_incoming struct incoming incoming;
    int received = message_receive(receiver, buffer, room, &incoming, MSG_DONTWAIT);
    if (received < 0) {
        assert(errno == EBADMSG || errno == EPROTONOSUPPORT);
        assert(incoming.descriptor_count == 0);
    } else if (received == 1 && message_open(&incoming) == 0) {
        size_t count = incoming.descriptor_count - incoming.in_file;
        cleanup_fd int taken = message_take_descriptor(&incoming, 0);
        assert((taken >= 0) == (count > 0));
        check_message(&incoming, sender, receiver);
        assert(message_take_descriptor(&incoming, MESSAGE_DESCRIPTORS_MAX) == -1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int lowest = lowest_descriptor();
    struct input input = {data, size};
    int sockets[2];
    assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    check_parse((const char *)data, size, sockets[0], sockets[1]);
    for (int i = 0; i < PACKETS_MAX && input.left > 0; i++) {
        unsigned with = (unsigned)input_number(&input, 1);
        send_packet(sockets[0], &input, with);
        receive_packet(sockets[0], sockets[1],
                       (with & WITH_SMALL_ROOM) != 0 ? MESSAGE_PACKET_SMALL : MESSAGE_PACKET_MAX);
    }
    close_fd(&sockets[0]);
    close_fd(&sockets[1]);
    assert(lowest_descriptor() == lowest);
    return 0;
}

/*
 * The codec of procd's messages: fields are written one after the other into one buffer, and read
 * where they lie. message_receive() and message_open() check what a peer sends; nothing else does.
 */
#include "procd/wire/protocol.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/memory_file.h"

#define MAGIC        "pcd1" /* the last character is the version */
#define MAGIC_LENGTH 3      /* without it */

enum place { PLACE_INLINE, PLACE_FILE };

struct header {
    char magic[4];
    uint16_t type;
    uint16_t place;
    uint64_t length;
};
_Static_assert(sizeof(struct header) == MESSAGE_PACKET_MAX - MESSAGE_INLINE_MAX,
               "room for a header");

struct field_header {
    uint16_t tag;
    uint16_t zero;
    uint32_t length;
};

/* Lengths are 32 bits wide; half of that leaves room for the sums. */
#define VALUE_MAX ((size_t)1 << 31)

static size_t padded(size_t length)
{
    return (length + 7) & ~(size_t)7;
}

/* ---- writing ---- */

void message_init(struct message *message, enum message_type type)
{
    struct header header = {.type = (uint16_t)type};
    memcpy(header.magic, MAGIC, sizeof(header.magic));
    message->data = message->small;
    message->capacity = sizeof(message->small);
    message->length = sizeof(header);
    message->failed = false;
    memcpy(message->data, &header, sizeof(header));
}

void message_clear(struct message *message)
{
    if (message->data != message->small) {
        free(message->data);
    }
    message->data = message->small;
}

static bool message_reserve(struct message *message, size_t more)
{
    size_t needed = message->length + more;
    if (needed <= message->capacity) {
        return true;
    }
    size_t capacity = needed + needed / 2;
    char *data =
        message->data == message->small ? malloc(capacity) : realloc(message->data, capacity);
    if (data == NULL) {
        return false;
    }
    if (message->data == message->small) {
        memcpy(data, message->small, message->length);
    }
    message->data = data;
    message->capacity = capacity;
    return true;
}

void message_add_bytes(struct message *message, enum field_tag tag, const void *data, size_t length)
{
    struct field_header header = {.tag = (uint16_t)tag, .length = (uint32_t)length};
    size_t room = padded(length);
    if (length > VALUE_MAX || !message_reserve(message, sizeof(header) + room)) {
        message->failed = true;
        return;
    }
    char *at = message->data + message->length;
    memcpy(at, &header, sizeof(header));
    memcpy(at + sizeof(header), data, length);
    memset(at + sizeof(header) + length, 0, room - length);
    message->length += sizeof(header) + room;
}

void message_add_text(struct message *message, enum field_tag tag, const char *text)
{
    message_add_bytes(message, tag, text, strlen(text) + 1);
}

void message_add_number(struct message *message, enum field_tag tag, int64_t number)
{
    message_add_bytes(message, tag, &number, sizeof(number));
}

bool message_is_plain(const struct message *message)
{
    return message->length == sizeof(struct header);
}

/* Puts place and length into the header, once all fields are there. 0, or -1 with errno. */
static int message_finish(struct message *message, enum place place)
{
    if (message->failed) {
        errno = ENOMEM;
        return -1;
    }
    struct header header;
    memcpy(&header, message->data, sizeof(header));
    header.place = (uint16_t)place;
    header.length = message->length - sizeof(header);
    memcpy(message->data, &header, sizeof(header));
    return 0;
}

static int send_packet(int socket, const void *packet, size_t length, const int *descriptors,
                       size_t count)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * MESSAGE_DESCRIPTORS_MAX)];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)packet, .iov_len = length};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        header.msg_control = control.space;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        assert(rights != NULL); /* there is room for it */
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(rights), descriptors, sizeof(int) * count);
    }
    return TEMP_FAILURE_RETRY(sendmsg(socket, &header, MSG_NOSIGNAL)) < 0 ? -1 : 0;
}

/* The fields in a memory file that cannot be changed or cut any more. */
static int make_fields_file(const struct message *message)
{
    cleanup_fd int fd = memory_file_create("procd-message");
    if (fd < 0 ||
        io_write_all(fd, message->data + sizeof(struct header),
                     message->length - sizeof(struct header)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}

int message_send(int socket, struct message *message, const int *descriptors, size_t count)
{
    if (message->length - sizeof(struct header) <= MESSAGE_INLINE_MAX) {
        return message_finish(message, PLACE_INLINE) < 0
                   ? -1
                   : send_packet(socket, message->data, message->length, descriptors, count);
    }
    if (message_finish(message, PLACE_FILE) < 0) {
        return -1;
    }
    cleanup_fd int fields = make_fields_file(message);
    if (fields < 0) {
        return -1;
    }
    int all[MESSAGE_DESCRIPTORS_MAX] = {fields};
    if (count > 0) {
        memcpy(all + 1, descriptors, count * sizeof(*descriptors));
    }
    return send_packet(socket, message->data, sizeof(struct header), all, count + 1);
}

int message_send_plain(int socket, enum message_type type)
{
    struct message message;
    message_init(&message, type);
    return message_send(socket, &message, NULL, 0);
}

int message_overwrite_file(int fd, struct message *message)
{
    if (message_finish(message, PLACE_INLINE) < 0) {
        return -1;
    }
    ssize_t written = TEMP_FAILURE_RETRY(pwrite(fd, message->data, message->length, 0));
    if (written >= 0 && written != (ssize_t)message->length) {
        errno = ENOSPC;
        return -1;
    }
    return written < 0 ? -1 : 0;
}

int message_save(int directory, const char *name, struct message *message)
{
    cleanup_fd int fd = openat(directory, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || message_overwrite_file(fd, message) < 0 ||
        ftruncate(fd, (off_t)message->length) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}

/* ---- reading ---- */

void incoming_clear(struct incoming *incoming)
{
    if (incoming->mapping != NULL) {
        (void)munmap(incoming->mapping, incoming->fields_length);
        incoming->mapping = NULL;
    }
    for (size_t i = 0; i < incoming->descriptor_count; i++) {
        close_fd(&incoming->descriptors[i]);
    }
    incoming->descriptor_count = 0;
    incoming->fields = NULL;
}

static void take_descriptors(struct msghdr *header, struct incoming *incoming)
{
    const struct cmsghdr *part = CMSG_FIRSTHDR(header); /* the kernel gives one at most */
    if (part != NULL && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
        incoming->descriptor_count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(incoming->descriptors, CMSG_DATA(part), incoming->descriptor_count * sizeof(int));
    }
}

static int reject(struct incoming *incoming, int error)
{
    incoming_clear(incoming);
    errno = error;
    return -1;
}

/* Of data that are no message of this version. */
static int reject_packet(struct incoming *incoming, const char *data, size_t length)
{
    bool is_other_version = length > MAGIC_LENGTH && memcmp(data, MAGIC, MAGIC_LENGTH) == 0 &&
                            data[MAGIC_LENGTH] != MAGIC[MAGIC_LENGTH];
    return reject(incoming, is_other_version ? EPROTONOSUPPORT : EBADMSG);
}

/* Reads the header of packet[0..length) into *incoming. */
static bool read_header(struct incoming *incoming, const char *packet, size_t length)
{
    struct header header;
    if (length < sizeof(header)) {
        return false;
    }
    memcpy(&header, packet, sizeof(header));
    if (memcmp(header.magic, MAGIC, sizeof(header.magic)) != 0 || header.place > PLACE_FILE) {
        return false;
    }
    incoming->type = (enum message_type)header.type;
    incoming->in_file = header.place == PLACE_FILE;
    incoming->fields_length = header.length;
    incoming->packet = packet;
    incoming->packet_length = length;
    return incoming->in_file ? length == sizeof(header) : header.length == length - sizeof(header);
}

int message_receive(int socket, char *buffer, size_t size, struct incoming *incoming, int flags)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * MESSAGE_DESCRIPTORS_MAX)];
    } control;
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    struct msghdr header = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.space,
        /* The exact length: in the padding the kernel would find room for one more. */
        .msg_controllen = CMSG_LEN(sizeof(int) * MESSAGE_DESCRIPTORS_MAX)};
    *incoming = (struct incoming){0};
    ssize_t length;
    bool was_reset = false;
    do {
        length = recvmsg(socket, &header, flags | MSG_CMSG_CLOEXEC);
        /* A peer that closes with something unread is reported once as an error, before what it has
         * sent, which comes next (unix_release_sock() in the kernel's af_unix.c). */
    } while (length < 0 &&
             (errno == EINTR || (errno == ECONNRESET && !was_reset && (was_reset = true))));
    if (length < 0) {
        bool later = (flags & MSG_DONTWAIT) != 0 && (errno == ENOMEM || errno == ENOBUFS);
        errno = later ? EAGAIN : errno; /* it is still there */
        return -1;
    }
    take_descriptors(&header, incoming);
    if (length == 0 && incoming->descriptor_count == 0) {
        errno = ECONNRESET;
        return was_reset ? -1 : 0;
    }
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
        !read_header(incoming, buffer, (size_t)length)) {
        return reject_packet(incoming, buffer, (size_t)length);
    }
    return 1;
}

/* Maps the memory file; its seals are what makes reading it safe. */
static bool map_fields(struct incoming *incoming)
{
    const int seals = F_SEAL_WRITE | F_SEAL_SHRINK;
    struct stat status;
    if (incoming->descriptor_count == 0) {
        return false;
    }
    int fd = incoming->descriptors[0];
    int sealed = fcntl(fd, F_GET_SEALS);
    if (sealed < 0 || (sealed & seals) != seals || fstat(fd, &status) < 0 || status.st_size <= 0 ||
        (uint64_t)status.st_size != incoming->fields_length) {
        return false;
    }
    void *mapping = mmap(NULL, incoming->fields_length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED) {
        return false;
    }
    incoming->mapping = mapping;
    incoming->fields = mapping;
    return true;
}

static bool tag_is_text(uint16_t tag)
{
    return tag < FIELD_PID || (tag >= FIELD_REQUEST_ID && tag < FIELD_TEXT_END);
}

/* Whether the field at `at` is whole and its value what its tag says. */
static bool field_is_sound(const struct incoming *incoming, size_t at, size_t *next)
{
    struct field_header header;
    size_t left = incoming->fields_length - at;
    if (left < sizeof(header)) {
        return false;
    }
    memcpy(&header, incoming->fields + at, sizeof(header));
    left -= sizeof(header);
    if (header.length > left || padded(header.length) > left) {
        return false;
    }
    const char *value = incoming->fields + at + sizeof(header);
    *next = at + sizeof(header) + padded(header.length);
    if (tag_is_text(header.tag)) {
        return header.length > 0 && memchr(value, '\0', header.length) == value + header.length - 1;
    }
    return header.tag >= FIELD_NUMBER_END || header.length == sizeof(int64_t);
}

int message_open(struct incoming *incoming)
{
    incoming->fields = incoming->packet + sizeof(struct header);
    if (incoming->in_file && !map_fields(incoming)) {
        return reject(incoming, EBADMSG);
    }
    for (size_t at = 0; at < incoming->fields_length;) {
        if (!field_is_sound(incoming, at, &at)) {
            return reject(incoming, EBADMSG);
        }
    }
    return 0;
}

int message_parse(const char *data, size_t length, struct incoming *incoming)
{
    *incoming = (struct incoming){0};
    if (!read_header(incoming, data, length) || incoming->in_file) {
        return reject_packet(incoming, data, length);
    }
    return message_open(incoming);
}

int message_forward(int socket, const struct incoming *incoming)
{
    return send_packet(socket, incoming->packet, incoming->packet_length, incoming->descriptors,
                       incoming->descriptor_count);
}

int message_take_descriptor(struct incoming *incoming, size_t index)
{
    index += incoming->in_file ? 1 : 0;
    return index < incoming->descriptor_count ? steal_fd(&incoming->descriptors[index]) : -1;
}

bool message_next(const struct incoming *incoming, struct field *field)
{
    if (field->next >= incoming->fields_length) {
        return false;
    }
    struct field_header header;
    const char *at = incoming->fields + field->next;
    memcpy(&header, at, sizeof(header));
    at += sizeof(header);
    *field = (struct field){.tag = (enum field_tag)header.tag,
                            .next = field->next + sizeof(header) + padded(header.length)};
    if (tag_is_text(header.tag)) {
        field->text = at;
    } else if (header.tag < FIELD_NUMBER_END) {
        memcpy(&field->number, at, sizeof(field->number));
    } else if (header.tag >= FIELD_DATA && header.tag < FIELD_BYTES_END) {
        field->bytes = at;
        field->length = header.length;
    }
    return true;
}

/* The first field of this tag, or one without a value. */
static struct field find_field(const struct incoming *incoming, enum field_tag tag)
{
    struct field field = {0};
    while (message_next(incoming, &field)) {
        if (field.tag == tag) {
            return field;
        }
    }
    return (struct field){0};
}

const char *message_bytes(const struct incoming *incoming, enum field_tag tag, size_t *length)
{
    struct field field = find_field(incoming, tag);
    *length = field.length;
    return field.bytes;
}

const char *message_text(const struct incoming *incoming, enum field_tag tag)
{
    return find_field(incoming, tag).text;
}

int64_t message_number(const struct incoming *incoming, enum field_tag tag, int64_t fallback)
{
    struct field field = find_field(incoming, tag);
    return field.tag == tag ? field.number : fallback;
}

bool message_next_group(const struct incoming *incoming, enum field_tag first,
                        struct incoming *group)
{
    struct field field = {0};
    if (group->fields != NULL) {
        field.next = (size_t)(group->fields - incoming->fields) + group->fields_length;
    }
    *group = (struct incoming){.type = incoming->type};
    for (size_t at = field.next; message_next(incoming, &field); at = field.next) {
        if (field.tag == first && group->fields != NULL) {
            break;
        }
        if (field.tag == first) {
            group->fields = incoming->fields + at;
        }
        if (group->fields != NULL) {
            group->fields_length = (size_t)(incoming->fields + field.next - group->fields);
        }
    }
    return group->fields != NULL;
}

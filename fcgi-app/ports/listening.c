/*
 * The kernel's answer comes in packets of many messages, one for each socket. What lists sockets in
 * /proc has those that listen first, on Linux; elsewhere it may not, so all of it is read, up to a
 * limit.
 */
#include "fcgi-app/ports/listening.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/array.h"
#include "common/cleanup.h"
#include "common/io.h"

#define PACKET_SIZE 16384 /* the kernel sends less at once */
#define PROC_MAX    (1 << 20)
#define TCP_LISTEN  10 /* of linux/tcp_states.h, which is the kernel's own */

void listening_clear(struct listening_list *list)
{
    free(list->sockets);
    *list = (struct listening_list){0};
}

static int listening_add(struct listening_list *list, const struct listening_socket *socket)
{
    if (ARRAY_RESERVE_ONE(list->sockets, list->capacity, list->count) < 0) {
        return -1;
    }
    list->sockets[list->count++] = *socket;
    return 0;
}

/* ---- by NETLINK_SOCK_DIAG ---- */

static int ask_kernel(int diag, int family)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 wish;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .wish = {.sdiag_family = (__u8)family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1U << TCP_LISTEN},
    };
    return TEMP_FAILURE_RETRY(send(diag, &request, sizeof(request), 0)) < 0 ? -1 : 0;
}

/* Whether the attributes behind a message, `length` bytes, say that the socket takes IPv6 only. */
static bool says_only_v6(const struct inet_diag_msg *message, size_t length)
{
    const struct rtattr *attribute = (const void *)(message + 1);
    for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length)) {
        if (attribute->rta_type == INET_DIAG_SKV6ONLY && RTA_PAYLOAD(attribute) >= 1) {
            return *(const unsigned char *)RTA_DATA(attribute) != 0;
        }
    }
    return false;
}

static int add_message(struct listening_list *list, const struct nlmsghdr *header)
{
    const struct inet_diag_msg *message = NLMSG_DATA(header);
    if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        header->nlmsg_len < NLMSG_LENGTH(sizeof(*message))) {
        errno = EBADMSG;
        return -1;
    }
    struct listening_socket socket = {
        .port = ntohs(message->id.idiag_sport),
        .family = message->idiag_family,
        .only_v6 = says_only_v6(message, header->nlmsg_len - NLMSG_LENGTH(sizeof(*message))),
        .inode = message->idiag_inode,
        .uid = message->idiag_uid,
    };
    memcpy(socket.address, message->id.idiag_src, sizeof(socket.address));
    return message->idiag_state == TCP_LISTEN ? listening_add(list, &socket) : 0;
}

/* Takes the messages of a packet. 1 when more packets come, 0 after the last, -1 with errno. */
static int add_packet(struct listening_list *list, const void *packet, size_t length)
{
    const struct nlmsghdr *header = packet;
    for (; NLMSG_OK(header, length); header = NLMSG_NEXT(header, length)) {
        if (header->nlmsg_type == NLMSG_DONE) {
            return 0;
        }
        if (header->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *error = NLMSG_DATA(header);
            errno = header->nlmsg_len >= NLMSG_LENGTH(sizeof(*error)) ? -error->error : EBADMSG;
            return -1;
        }
        if (add_message(list, header) < 0) {
            return -1;
        }
    }
    return 1;
}

/* The kernel has each packet ready when it is asked for: a socket that does not block is never
 * empty before the end. */
static int read_answer(int diag, struct listening_list *list)
{
    _Alignas(struct nlmsghdr) char packet[PACKET_SIZE];
    for (int more = 1; more != 0;) {
        struct iovec part = {packet, sizeof(packet)};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
        ssize_t length = TEMP_FAILURE_RETRY(recvmsg(diag, &header, 0));
        if (length <= 0 || (header.msg_flags & MSG_TRUNC) != 0) {
            errno = length < 0 ? errno : EBADMSG;
            return -1;
        }
        more = add_packet(list, packet, (size_t)length);
        if (more < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_diag(struct listening_list *list)
{
    cleanup_fd int diag =
        socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    return diag < 0 || ask_kernel(diag, AF_INET) < 0 || read_answer(diag, list) < 0 ||
                   ask_kernel(diag, AF_INET6) < 0 || read_answer(diag, list) < 0
               ? -1
               : 0;
}

/* ---- from /proc ---- */

/* The address in a line is words of 32 bits in the machine's own order, in hexadecimal digits. */
static bool scan_address(const char *digits, struct listening_socket *socket)
{
    size_t words = socket->family == AF_INET ? 1 : 4;
    if (strlen(digits) != 8 * words) {
        return false;
    }
    for (size_t i = 0; i < words; i++) {
        char word[9] = "";
        memcpy(word, digits + 8 * i, 8);
        uint32_t value = (uint32_t)strtoul(word, NULL, 16);
        memcpy(socket->address + 4 * i, &value, sizeof(value));
    }
    return true;
}

/* "sl: local_address:port remote:port st queues timer retransmits uid timeout inode …" */
static int add_line(struct listening_list *list, int family, const char *line)
{
    char digits[33];
    unsigned port, state, uid, inode;
    struct listening_socket socket = {.family = family};
    /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote these numbers */
    if (sscanf(line, " %*d: %32[0-9A-F]:%4x %*[0-9A-F:] %2x %*s %*s %*s %u %*d %u", digits, &port,
               &state, &uid, &inode) != 5 ||
        state != TCP_LISTEN || !scan_address(digits, &socket)) {
        return 0; /* the head of the table, or a connection */
    }
    socket.port = (uint16_t)port;
    socket.uid = uid;
    socket.inode = inode;
    return listening_add(list, &socket);
}

/* A file that is not there (tcp6 without IPv6) has no sockets. */
static int read_table(struct listening_list *list, int family, const char *path)
{
    cleanup_file FILE *table = fopen(path, "re");
    if (table == NULL) {
        return errno == ENOENT && family == AF_INET6 ? 0 : -1;
    }
    cleanup_free char *line = NULL;
    size_t size = 0;
    ssize_t length;
    for (size_t total = 0; total < PROC_MAX && (length = getline(&line, &size, table)) > 0;) {
        total += (size_t)length;
        if (add_line(list, family, line) < 0) {
            return -1;
        }
    }
    return ferror(table) != 0 ? -1 : 0;
}

static int read_proc(struct listening_list *list)
{
    return read_table(list, AF_INET, "/proc/net/tcp") < 0 ||
                   read_table(list, AF_INET6, "/proc/net/tcp6") < 0
               ? -1
               : 0;
}

/* ---- the list ---- */

int listening_compare(const struct listening_socket *a, const struct listening_socket *b)
{
    return a->port != b->port       ? (a->port < b->port ? -1 : 1)
           : a->family != b->family ? (a->family < b->family ? -1 : 1)
                                    : memcmp(a->address, b->address, sizeof(a->address));
}

static int compare_sockets(const void *left, const void *right)
{
    const struct listening_socket *a = left, *b = right;
    int by_place = listening_compare(a, b);
    return by_place != 0 ? by_place : a->inode < b->inode ? -1 : a->inode > b->inode;
}

int listening_read(struct listening_list *list)
{
    *list = (struct listening_list){0};
    if (read_diag(list) < 0) {
        listening_clear(list);
        if (read_proc(list) < 0) {
            listening_clear(list);
            return -1;
        }
    }
    if (list->count > 1) {
        qsort(list->sockets, list->count, sizeof(*list->sockets), compare_sockets);
    }
    return 0;
}

const struct listening_socket *listening_find(const struct listening_list *list, unsigned port,
                                              const struct listening_socket **end)
{
    size_t first = 0;
    while (first < list->count && list->sockets[first].port < port) {
        first++;
    }
    size_t last = first;
    while (last < list->count && list->sockets[last].port == port) {
        last++;
    }
    *end = list->sockets + last;
    return last > first ? list->sockets + first : NULL;
}

static const unsigned char any_address[16];

/* An IPv4 address, or the one that an IPv6 socket has mapped; NULL when it has none. */
static const unsigned char *address4(const struct listening_socket *socket)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    return socket->family == AF_INET                              ? socket->address
           : memcmp(socket->address, mapped, sizeof(mapped)) == 0 ? socket->address + 12
                                                                  : NULL;
}

static bool is_any6(const struct listening_socket *socket)
{
    return socket->family == AF_INET6 &&
           memcmp(socket->address, any_address, sizeof(any_address)) == 0;
}

static bool is_localhost6(const struct listening_socket *socket)
{
    static const unsigned char localhost[16] = {[15] = 1};
    return socket->family == AF_INET6 && memcmp(socket->address, localhost, sizeof(localhost)) == 0;
}

bool listening_at_loopback4(const struct listening_socket *socket)
{
    static const unsigned char localhost[4] = {127, 0, 0, 1};
    const unsigned char *address = address4(socket);
    return address != NULL ? memcmp(address, localhost, sizeof(localhost)) == 0 ||
                                 memcmp(address, any_address, sizeof(localhost)) == 0
                           : is_any6(socket) && !socket->only_v6;
}

bool listening_at_loopback6(const struct listening_socket *socket)
{
    return is_any6(socket) || is_localhost6(socket);
}

bool listening_is_loopback(const struct listening_socket *socket)
{
    const unsigned char *address = address4(socket);
    return address != NULL ? address[0] == 127 : is_localhost6(socket);
}

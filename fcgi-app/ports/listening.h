/*
 * The TCP sockets that listen, as the kernel lists them: of all users and processes of this network
 * namespace.
 *
 * The kernel reports no listen(2), so a caller that waits for one looks again. A look by
 * NETLINK_SOCK_DIAG takes some microseconds, and only the sockets that listen are visited for it.
 * Where that is not there (gVisor, a kernel without it) /proc/net/tcp and tcp6 are read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct listening_socket {
    uint16_t port;
    int family;                /* AF_INET or AF_INET6 */
    unsigned char address[16]; /* in network order; of AF_INET the first four bytes */
    bool only_v6;   /* IPV6_V6ONLY; false where /proc had to be read, which does not say */
    uint32_t inode; /* of /proc/<pid>/fd/<n>, "socket:[inode]" */
    uid_t uid;      /* who made the socket */
};

/* Ordered by port, then by family, address and inode. Several may have one port. */
struct listening_list {
    struct listening_socket *sockets;
    size_t count;
    size_t capacity;
};

/* All that listen now, into a list that this begins. 0, or -1 with errno: the list is empty then.
 * Thread-safe; waits for nobody. */
int listening_read(struct listening_list *list);
void listening_clear(struct listening_list *list);

/* The first socket of the port, and the end of those that have it; NULL when nobody listens. */
const struct listening_socket *listening_find(const struct listening_list *list, unsigned port,
                                              const struct listening_socket **end);

/* How the places of two sockets, their ports and addresses, are ordered: < 0, 0 or > 0. */
int listening_compare(const struct listening_socket *a, const struct listening_socket *b);

/* Whether a connection to 127.0.0.1, or to ::1, reaches this socket. */
bool listening_at_loopback4(const struct listening_socket *socket);
bool listening_at_loopback6(const struct listening_socket *socket);

/* Whether only this machine reaches it: a loopback address. */
bool listening_is_loopback(const struct listening_socket *socket);

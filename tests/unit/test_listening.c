/*
 * The sockets that listen: each with its port, its address and its inode, by the kernel's list and
 * by /proc alike; and none that does not listen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "fcgi-app/ports/listening.h"

/* Where true, the kernel has no NETLINK_SOCK_DIAG. */
static bool no_diag;

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

int __wrap_socket(int domain, int type, int protocol)
{
    if (domain == AF_NETLINK && no_diag) {
        errno = EPROTONOSUPPORT;
        return -1;
    }
    return __real_socket(domain, type, protocol);
}
/* NOLINTEND(bugprone-reserved-identifier) */

struct server {
    int fd;
    unsigned port;
    uint32_t inode;
};

static uint32_t inode_of(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return (uint32_t)status.st_ino;
}

static struct server open4(const char *address, bool listens)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t length = sizeof(name);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET, address, &name.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &length), 0);
    assert_true(!listens || listen(fd, 1) == 0);
    return (struct server){fd, ntohs(name.sin_port), inode_of(fd)};
}

static struct server open6(const char *address, int only_v6)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6};
    socklen_t length = sizeof(name);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET6, address, &name.sin6_addr), 1);
    assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &length), 0);
    assert_int_equal(listen(fd, 1), 0);
    return (struct server){fd, ntohs(name.sin6_port), inode_of(fd)};
}

/* What is listed of the server, whose port has no other; a port of 0 when it is not there. */
static struct listening_socket look(const struct server *server)
{
    struct listening_list list;
    const struct listening_socket *end;
    assert_int_equal(listening_read(&list), 0);
    const struct listening_socket *first = listening_find(&list, server->port, &end);
    struct listening_socket found = {0};
    for (; first != NULL && first < end; first++) {
        found = first->inode == server->inode ? *first : found;
    }
    listening_clear(&list);
    return found;
}

static void check4(const char *address, bool at_loopback, bool is_loopback)
{
    struct server server = open4(address, true);
    struct listening_socket found = look(&server);
    char text[INET_ADDRSTRLEN];
    assert_int_equal(found.port, server.port);
    assert_int_equal(found.family, AF_INET);
    assert_string_equal(inet_ntop(AF_INET, found.address, text, sizeof(text)), address);
    assert_int_equal(found.uid, getuid());
    assert_int_equal(listening_at_loopback4(&found), at_loopback);
    assert_false(listening_at_loopback6(&found));
    assert_int_equal(listening_is_loopback(&found), is_loopback);
    assert_int_equal(close(server.fd), 0);
    assert_int_equal(look(&server).port, 0);
}

static void check6(const char *address, bool only_v6, bool at4, bool at6, bool is_loopback)
{
    struct server server = open6(address, only_v6);
    struct listening_socket found = look(&server);
    char text[INET6_ADDRSTRLEN];
    assert_int_equal(found.port, server.port);
    assert_int_equal(found.family, AF_INET6);
    assert_string_equal(inet_ntop(AF_INET6, found.address, text, sizeof(text)), address);
    if (strcmp(address, "::") == 0) { /* of other addresses bind(2) decides it */
        assert_int_equal(found.only_v6, only_v6 && !no_diag);
    }
    assert_int_equal(listening_at_loopback4(&found), at4);
    assert_int_equal(listening_at_loopback6(&found), at6);
    assert_int_equal(listening_is_loopback(&found), is_loopback);
    assert_int_equal(close(server.fd), 0);
}

static void check_all(void)
{
    check4("127.0.0.1", true, true);
    check4("127.0.0.9", false, true);
    check4("0.0.0.0", true, false);
    struct server silent = open4("127.0.0.1", false);
    assert_int_equal(look(&silent).port, 0);
    assert_int_equal(close(silent.fd), 0);
    if (access("/proc/net/tcp6", F_OK) == 0) {
        check6("::1", false, false, true, true);
        check6("::", false, true, true, false);
        check6("::", true, no_diag, true, false);
        check6("::ffff:127.0.0.1", false, true, false, true);
    }
}

static void test_by_the_kernels_list(void **state)
{
    (void)state;
    no_diag = false;
    check_all();
}

static void test_from_proc(void **state)
{
    (void)state;
    no_diag = true;
    check_all();
    no_diag = false;
}

/* More than a packet of the kernel holds, in the order of their ports. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 400 };
    static struct server servers[MANY];
    for (size_t i = 0; i < MANY; i++) {
        servers[i] = open4("127.0.0.1", true);
    }
    for (size_t i = 0; i < MANY; i += 37) {
        assert_int_equal(look(&servers[i]).inode, servers[i].inode);
    }
    struct listening_list list;
    uint64_t before = clock_ns(CLOCK_MONOTONIC);
    assert_int_equal(listening_read(&list), 0);
    print_message("%zu sockets: %llu us\n", list.count,
                  (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - before) / 1000);
    assert_true(list.count >= MANY);
    for (size_t i = 1; i < list.count; i++) {
        assert_true(list.sockets[i - 1].port <= list.sockets[i].port);
    }
    listening_clear(&list);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(close(servers[i].fd), 0);
    }
    before = clock_ns(CLOCK_MONOTONIC);
    assert_int_equal(listening_read(&list), 0);
    print_message("%zu sockets: %llu us\n", list.count,
                  (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - before) / 1000);
    listening_clear(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_the_kernels_list),
        cmocka_unit_test(test_from_proc),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Opening TCP and unix sockets.
 */
#include "launcher/start/listener.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"

/* Shortened to net.core.somaxconn by the kernel. */
#define BACKLOG 4095

int listener_listen(int fd)
{
    return listen(fd, BACKLOG);
}

/* Non-blocking, because nginx takes an inherited socket as it is. */
static int open_tcp(const struct sockaddr *address, socklen_t size)
{
    const int on = 1;
    cleanup_fd int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (address->sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
        bind(fd, address, size) < 0 || listener_listen(fd) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}

/* On all addresses of a family. */
static int open_port(int family, unsigned port)
{
    const struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    return family == AF_INET6 ? open_tcp((const struct sockaddr *)&ipv6, sizeof(ipv6))
                              : open_tcp((const struct sockaddr *)&ipv4, sizeof(ipv4));
}

bool listener_has_ipv6(void)
{
    cleanup_fd int fd = open_port(AF_INET6, 0);
    return fd >= 0;
}

static int append(struct listeners *listeners, int fd)
{
    if (fd < 0) {
        return -1;
    }
    assert(listeners->count < LISTENERS_MOST);
    listeners->fds[listeners->count++] = fd;
    return 0;
}

int listeners_add(struct listeners *listeners, const struct sockaddr *address, socklen_t size)
{
    return append(listeners, open_tcp(address, size));
}

int listeners_add_port(struct listeners *listeners, const char *variable, unsigned port, bool ipv6)
{
    if (append(listeners, open_port(AF_INET, port)) < 0 ||
        (ipv6 && append(listeners, open_port(AF_INET6, port)) < 0)) {
        log_line("%s: cannot listen on port %u: %m", variable, port);
        return -1;
    }
    return 0;
}

int listener_open_unix(const char *path, bool sequenced, mode_t mode, uid_t owner, gid_t group)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int type = sequenced ? SOCK_SEQPACKET : SOCK_STREAM;
    if (length >= (int)sizeof(address.sun_path)) {
        log_line("%s: %s", path, strerror(ENAMETOOLONG));
        return -1;
    }
    cleanup_fd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        ((owner != (uid_t)-1 || group != (gid_t)-1) && chown(path, owner, group) < 0) ||
        chmod(path, mode) < 0 || listener_listen(fd) < 0) {
        log_line("%s: %m", path);
        return -1;
    }
    return steal_fd(&fd);
}

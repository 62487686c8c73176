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
#include "launcher/render/listen_address.h"

/* Shortened to net.core.somaxconn by the kernel. */
#define BACKLOG 4095

int listener_listen(int fd)
{
    return listen(fd, BACKLOG);
}

/* Whether a process listens there; -1 with errno if that cannot be known. */
static int has_listener(const struct sockaddr_un *address)
{
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN) {
        return 1;
    }
    return errno == ECONNREFUSED || errno == ENOENT ? 0 : -1;
}

/* Removes the socket of a killed server, and nothing but a socket. 0, or -1 with errno. */
static int remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    if (!S_ISSOCK(status.st_mode)) {
        errno = EEXIST;
        return -1;
    }
    int found = has_listener(address);
    if (found != 0) {
        errno = found > 0 ? EADDRINUSE : errno;
        return -1;
    }
    return unlink(address->sun_path) < 0 && errno != ENOENT ? -1 : 0;
}

/* Non-blocking, because nginx takes an inherited socket as it is. */
static int open_unix(const struct sockaddr_un *address)
{
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || remove_stale(address) < 0 ||
        bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        return -1;
    }
    if (chmod(address->sun_path, 0666) < 0 || listener_listen(fd) < 0) {
        int error = errno;
        (void)unlink(address->sun_path);
        errno = error;
        return -1;
    }
    return steal_fd(&fd);
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

bool listener_has_ipv6(void)
{
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    cleanup_fd int fd = open_tcp((const struct sockaddr *)&any, sizeof(any));
    return fd >= 0;
}

int listeners_add(struct listeners *listeners, const char *variable,
                  const struct listen_address *address)
{
    int fd = address->any.sa_family == AF_UNIX ? open_unix(&address->local)
                                               : open_tcp(&address->any, address->size);
    if (fd < 0) {
        char text[LISTEN_TEXT_SIZE];
        listen_address_format(address, text);
        return log_failure("%s: cannot listen on %s: %m", variable, text);
    }
    assert(listeners->count < LISTENERS_MOST);
    listeners->fds[listeners->count++] = fd;
    return 0;
}

int listeners_add_all(struct listeners *listeners, const char *variable,
                      const struct listen_addresses *addresses)
{
    for (size_t i = 0; i < addresses->count; i++) {
        if (listeners_add(listeners, variable, &addresses->address[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Whether it is a unix socket, and where. */
static bool is_unix_at(int fd, struct sockaddr_un *address)
{
    socklen_t size = sizeof(*address);
    *address = (struct sockaddr_un){0};
    return getsockname(fd, (struct sockaddr *)address, &size) == 0 &&
           address->sun_family == AF_UNIX && address->sun_path[0] == '/';
}

void listeners_remove_files(const struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        struct sockaddr_un address;
        if (is_unix_at(listeners->fds[i], &address)) {
            (void)unlink(address.sun_path);
        }
    }
}

bool listeners_remove_left(const struct listen_addresses *addresses)
{
    bool is_clean = true;
    for (size_t i = 0; i < addresses->count; i++) {
        if (addresses->address[i].any.sa_family == AF_UNIX) {
            is_clean = remove_stale(&addresses->address[i].local) == 0 && is_clean;
        }
    }
    return is_clean;
}

bool listener_answers(int fd)
{
    struct sockaddr_un address;
    return !is_unix_at(fd, &address) || has_listener(&address) != 0;
}

int listener_replace(int fd)
{
    struct sockaddr_un address;
    if (!is_unix_at(fd, &address)) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    cleanup_fd int replacement = open_unix(&address);
    return replacement < 0 || dup2(replacement, fd) < 0 ? -1 : 0;
}

void listener_shut_down(int fd)
{
    struct sockaddr_un address;
    bool is_unix = is_unix_at(fd, &address);
    if (is_unix && unlink(address.sun_path) < 0 && errno != ENOENT) {
        log_line("%s: %m", address.sun_path);
    }
    if (shutdown(fd, SHUT_RDWR) < 0 && errno != ENOTCONN) {
        log_line("shutdown: %m");
    }
    int client = -1;
    while (is_unix && (client = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close_fd(&client);
    }
}

int listener_open_unix(const char *path, bool sequenced, mode_t mode, uid_t owner, gid_t group)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int type = sequenced ? SOCK_SEQPACKET : SOCK_STREAM;
    if (length >= (int)sizeof(address.sun_path)) {
        return log_failure("%s: %s", path, strerror(ENAMETOOLONG));
    }
    cleanup_fd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        ((owner != (uid_t)-1 || group != (gid_t)-1) && chown(path, owner, group) < 0) ||
        chmod(path, mode) < 0 || listener_listen(fd) < 0) {
        return log_failure("%s: %m", path);
    }
    return steal_fd(&fd);
}

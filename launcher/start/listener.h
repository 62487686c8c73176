/*
 * The sockets that nginx and the daemons inherit, so that while one of them restarts its clients
 * wait in the backlog.
 */
#ifndef LAUNCHER_START_LISTENER_H
#define LAUNCHER_START_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

/* PORT and PROXY_PORT on IPv4 and IPv6, and the address for Prometheus. */
#define LISTENERS_MOST 5

/* Does the machine have IPv6? */
bool listener_has_ipv6(void);

/* What our own nginx listens on. An empty one is {0}. */
struct listeners {
    int fds[LISTENERS_MOST]; /* close-on-exec */
    size_t count;
};

/* Opens the socket that nginx opens for such a `listen` line, non-blocking, and appends it. 0, or
 * -1 with errno. */
int listeners_add(struct listeners *listeners, const struct sockaddr *address, socklen_t size);

/* The same for a port on all addresses: of IPv4 and, if `ipv6`, of IPv6. 0, or -1 after one line to
 * standard error that names `variable`. */
int listeners_add_port(struct listeners *listeners, const char *variable, unsigned port, bool ipv6);

/* Makes a socket listen, also one that was shut down, with the backlog that nginx gives it. 0, or
 * -1 with errno. */
int listener_listen(int fd);

/* A listening unix stream socket at `path` with this mode, owner and group (-1: leave). `sequenced`
 * makes it SOCK_SEQPACKET. A descriptor (close-on-exec), or -1 after one line to standard error. */
int listener_open_unix(const char *path, bool sequenced, mode_t mode, uid_t owner, gid_t group);

#endif

/*
 * The sockets that nginx and the daemons inherit. While one of them restarts its clients wait in
 * the backlog.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct listen_address;
struct listen_addresses;

/* Of SANDBOX_LISTEN and SANDBOX_PROXY_LISTEN (LISTEN_ADDRESSES_MOST each), and the address for
 * Prometheus. */
#define LISTENERS_MOST 17

/* Whether the machine has IPv6. */
bool listener_has_ipv6(void);

/* What our own nginx listens on. An empty one is {0}. */
struct listeners {
    int fds[LISTENERS_MOST]; /* close-on-exec */
    size_t count;
};

/* Opens the sockets that nginx opens for such `listen` lines, non-blocking, and appends them. The
 * file of a unix socket has mode 0666: the directory above it decides who may connect. A socket
 * file that is left there, without a listener, is replaced. 0, or -1 after one line to standard
 * error that names `variable`. */
int listeners_add_all(struct listeners *listeners, const char *variable,
                      const struct listen_addresses *addresses);

/* The same for one address. */
int listeners_add(struct listeners *listeners, const char *variable,
                  const struct listen_address *address);

/* Removes the files of unix sockets, for a start that fails. */
void listeners_remove_files(const struct listeners *listeners);

/* The same of addresses, once the server has ended. A file stays if another process listens there.
 * Whether none is left. */
bool listeners_remove_left(const struct listen_addresses *addresses);

/* Whether a process listens at the address of this unix socket; true for another family. */
bool listener_answers(int fd);

/* Puts a new listening socket with the address of this unix socket in its place. 0, or -1 with
 * errno. */
int listener_replace(int fd);

/* Stops listening: new clients are refused, and those in the backlog are disconnected. The file of
 * a unix socket is removed, and that socket cannot listen again: listener_replace(). */
void listener_shut_down(int fd);

/* Makes a socket listen, also one that was shut down, with the backlog that nginx gives it. 0, or
 * -1 with errno. */
int listener_listen(int fd);

/* A listening unix stream socket at `path` with this mode, owner and group (-1: leave). `sequenced`
 * makes it SOCK_SEQPACKET. A descriptor (close-on-exec), or -1 after one line to standard error. */
int listener_open_unix(const char *path, bool sequenced, mode_t mode, uid_t owner, gid_t group);

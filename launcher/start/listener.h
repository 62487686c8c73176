/*
 * Sockets: the check that nginx will get its ports, and the unix sockets that the daemons
 * inherit, so that while a daemon restarts its clients wait in the backlog.
 */
#ifndef LAUNCHER_START_LISTENER_H
#define LAUNCHER_START_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Does the machine have IPv6? */
bool listener_has_ipv6(void);

/* Listens for a moment, with the options that nginx uses. 0, or -1 with errno. */
int listener_try(const struct sockaddr *address, socklen_t size);

/* Can this port be listened on, on IPv4 and, if `ipv6`, on IPv6? 0, or -1 after one line to
 * standard error that names `variable`. */
int listener_check_port(const char *variable, unsigned port, bool ipv6);

/* A listening unix stream socket at `path` with this mode, owner and group (-1: leave). `sequenced`
 * makes it SOCK_SEQPACKET. A descriptor (close-on-exec), or -1 after one line to standard error. */
int listener_open_unix(const char *path, bool sequenced, mode_t mode, uid_t owner, gid_t group);

#endif

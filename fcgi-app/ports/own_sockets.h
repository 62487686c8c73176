/*
 * Which of the sockets that listen are a command's (SANDBOX_PORTS=own).
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/ports/listening.h"

/* Leaves only those that a process of a command has open. procd is asked, which may take some
 * milliseconds. If it does not answer, or memory is out, the list becomes empty: 0, or -1. */
int own_sockets_keep(struct listening_list *list);

/*
 * Whether a socket at loopback listens on the port that no command has: it listens still, it was in
 * a list that was read `before` that of own_sockets_keep(), and it is not in that, `own`. (One that
 * was opened or closed meanwhile may be a command's.)
 */
bool own_sockets_foreign(unsigned port, const struct listening_list *before,
                         const struct listening_list *own);

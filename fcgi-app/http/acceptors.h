#pragma once

#include <stdint.h>

/*
 * Takes over the listening socket on descriptor 0 (which becomes /dev/null). Call it before any
 * thread. 0, or -1 with errno.
 */
int acceptors_open(void);

/* Starts to serve connections (fcgi.h). 0, or -1 with errno when no thread could be made. */
int acceptors_start(void);

/* How many connections wait to be accepted; -1: unknown. Thread-safe. */
int64_t acceptors_backlog(void);

/* Serves a connection (taken over) from here on in a thread of its own. Thread-safe. */
void acceptors_reuse(int fd);

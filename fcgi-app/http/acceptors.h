#pragma once

/*
 * Takes over the listening socket on descriptor 0 (which becomes /dev/null). Call it before any
 * thread. 0, or -1 with errno.
 */
int acceptors_open(void);

/* Starts to serve connections (fcgi.h). 0, or -1 with errno when no thread could be made. */
int acceptors_start(void);

/* Serves a connection (taken over) from here on in a thread of its own. Thread-safe. */
void acceptors_reuse(int fd);

#pragma once

/*
 * Takes over the listening socket on descriptor 0 (which becomes /dev/null). Call it before any
 * thread. 0, or -1 with errno.
 */
int acceptor_open(void);

/* Starts to accept connections for the workers, which were started before. 0, or -1 with errno when
 * no thread could be made. */
int acceptor_start(void);

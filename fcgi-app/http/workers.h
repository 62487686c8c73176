/*
 * The threads that serve requests. A few of them, as many as there are processors, take turns at
 * all connections, so that short requests need no switch from one thread to the other, and a
 * connection without a request costs no thread. A worker whose request lasts gives its turn to
 * another thread.
 */
#pragma once

#include <stdbool.h>

/* Starts them. 0, or -1 with errno. */
int workers_start(void);

/* Takes a connection over, and serves the requests that come on it. Thread-safe. */
void workers_add(int fd);

/* The same for a connection of which a detached request (request.h) has come to its end.
 * Thread-safe.
 */
void workers_resume(int fd);

/*
 * The request that the calling thread serves will last: another thread takes its turn. False when
 * there is none and none could be made; then the request must be refused. For worker threads.
 */
bool workers_leave(void);

/*
 * procd's listening socket.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_DAEMON_SERVER_H
#define PROCD_DAEMON_SERVER_H

#include <stddef.h>

/*
 * Serves the connections of `listener` (taken over) in the loop. At most `jobs_max` jobs run at
 * once, 0: any number. The run directory's name must live as long as the process. 0, or -1 with
 * errno.
 */
int server_open(int listener, const char *run_directory, size_t jobs_max);

/* Drops all clients. */
void server_close(void);

#endif

/*
 * procd's clients: who they are and what each asks for.
 */
#ifndef PROCD_SERVER_H
#define PROCD_SERVER_H

/* Serves the connections of `listener` (taken over) in the loop. 0, or -1 with errno. */
int server_open(int listener);

/* Drops all clients. */
void server_close(void);

#endif

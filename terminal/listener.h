/*
 * The listening socket, on descriptor 0, where nginx connects.
 */
#pragma once

/* Accepts clients from now on. 0, or -1 with errno. */
int nginx_listener_start(void);

/* Accepts no more; clients wait in the backlog for the next daemon. */
void nginx_listener_stop(void);

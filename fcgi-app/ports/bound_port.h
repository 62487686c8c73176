/*
 * The one port that PROXY_PORT forwards to: a file that nginx reads for every connection, claimed
 * with link(2), so that of concurrent binds exactly one wins and no daemon has to remember
 * anything.
 */
#pragma once

/* Remembers the directory that holds the target file (borrowed descriptor). Call once, before
 * threads. */
void bound_port_init(int directory_fd, unsigned proxy_port);

/* The file that nginx reads: the port in decimal digits and a newline. Not there: nothing is bound.
 */
#define PORT_TARGET_FILE "target"

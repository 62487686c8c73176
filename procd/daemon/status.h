/*
 * What the server is like now, for an operator: procd answers because it is who may look at all the
 * daemons.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_DAEMON_STATUS_H
#define PROCD_DAEMON_STATUS_H

#include "procd/wire/protocol.h"

/* Appends the fields of STATUS, less what cannot be found out. */
void status_describe(const char *run_directory, struct message *message);

#endif

/*
 * The state of the server, for an operator. procd answers because it has the right to look at all
 * daemons.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include "procd/wire/protocol.h"

/* Appends the fields of STATUS, less what is unknown. */
void status_describe(const char *run_directory, struct message *message);

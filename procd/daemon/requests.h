/*
 * What procd does for each request of a client (protocol.h).
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stddef.h>

#include "procd/daemon/server.h"
#include "procd/wire/protocol.h"

/* The status is of this run directory (borrowed); at most `jobs_max` jobs run at once, and
 * `terminals_max` of those with a terminal, 0: any number. */
void requests_init(const char *run_directory, size_t jobs_max, size_t terminals_max);

/* For server_open(): false also for a request that is unknown or malformed. */
request_function requests_handle;

/*
 * The one line that says where the server listens. A short-lived child prints it once /health
 * answers 200.
 */
#pragma once

#include <sys/types.h>

#include "common/settings.h"

/*
 * Forks the child that asks for /health until it is 200, prints that line, and ends with 0. If time
 * runs out it prints one line, leaves RUN/failed for `procd --stop` (which makes the exit status),
 * sends SIGTERM to its parent, and ends with 1. Returns its pid, or -1 after one line.
 */
pid_t ready_announce(const struct settings *settings, const char *run_directory);

/*
 * How many connections wait in the backlog of a listening unix socket.
 */
#pragma once

#include <stdint.h>

/*
 * How many connections are not accepted yet, -1 when that cannot be found out. It reads a line for
 * each unix socket of the machine (or of its network namespace). Thread-safe.
 */
int64_t backlog_length(int listener);

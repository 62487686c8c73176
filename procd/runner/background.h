/*
 * A background job in its runner.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "procd/runner/linger.h"
#include "procd/wire/protocol.h"

/*
 * Starts the job that `order` (JOB) and `command` (START), both opened, describe, whose log gets at
 * most `log_max` bytes on disk, and answers over *control, which is closed where that fails.
 * Returns false when the job could not be started. Otherwise returns when the job has ended and its
 * records are written, and leaves in *left what the job has left: true.
 */
bool background_run(struct incoming *order, const struct incoming *command, uint64_t log_max,
                    int *control, int signals, struct leftover *left);

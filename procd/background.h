/*
 * A background job in its runner.
 */
#ifndef PROCD_BACKGROUND_H
#define PROCD_BACKGROUND_H

#include <stdbool.h>

#include "procd/linger.h"
#include "procd/protocol.h"

/*
 * Starts the job that `order` (JOB) and `command` (START), both opened, describe and answers over
 * `control`. Returns false when it could not be started. Otherwise closes *control, stays until the
 * job has ended and its records are written, and returns true with what is left of it in *left.
 */
bool background_run(struct incoming *order, const struct incoming *command, int *control,
                    int signals, struct leftover *left);

#endif

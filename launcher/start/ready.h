/*
 * The one line with the URL: printed by a short-lived child once the whole chain answers.
 */
#ifndef LAUNCHER_START_READY_H
#define LAUNCHER_START_READY_H

#include "common/settings.h"
#include "launcher/start/run_dir.h"

/*
 * Forks the child that asks for /health until it is 200 and then prints the URL line. If that does
 * not come about it prints one line, leaves RUN/failed for `procd --stop` (which makes the exit
 * status) and sends SIGTERM to its parent, the supervisor by then. 0, or -1 after one line.
 */
int ready_announce(const struct settings *settings, const struct run_dir *run);

#endif

/*
 * How a daemon begins that serves on descriptor 0: its log, its arguments `-r RUN`, no descriptors
 * but 0 to 2, the settings, and the number of lines that the log has lost.
 *
 * Call it first, before threads.
 */
#pragma once

struct settings;

/* The run directory (borrowed from the arguments), or NULL after a line that says why there is
 * none: the daemon then returns *status. */
const char *daemon_start(const char *name, int count, char **arguments, struct settings *settings,
                         int *status);

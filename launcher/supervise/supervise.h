/*
 * `nginx-sandbox supervise`, which the launcher becomes once everything is laid out: the parent of
 * the services' supervisor (s6-svscan) and of the command beside the server. It takes the signals
 * that end both. In a container it is process 1.
 */
#pragma once

#include <stdbool.h>

/*
 * Executes `program`, the launcher's own, as that subcommand, with the environment and the
 * descriptors that services inherit. All signals must be blocked. `arguments` is the command beside
 * the server, or empty. Returns only on an error, with errno.
 */
void supervise_become(const char *program, const char *run_directory, bool with_nginx,
                      char *const *arguments);

/* The subcommand: -r RUN [-n (without nginx)] -- [CMD ARG...]. Returns the exit status. */
int supervise_main(int count, char **arguments);

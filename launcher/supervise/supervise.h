/*
 * `nginx-sandbox supervise`, what the launcher becomes once everything is laid out: the parent of
 * the supervisor of the services (s6-svscan) and of the command beside the server, and who hears
 * the signals that end both. In a container it is process 1.
 */
#ifndef LAUNCHER_SUPERVISE_SUPERVISE_H
#define LAUNCHER_SUPERVISE_SUPERVISE_H

#include <stdbool.h>

/*
 * Becomes it (`program` is the launcher's own), with the rest of the environment and the
 * descriptors that services inherit; all signals must be blocked. `arguments` is the command's, or
 * NULL. Returns only on error, with errno.
 */
void supervise_become(const char *program, const char *run_directory, bool with_nginx,
                      char *const *arguments);

/* The subcommand: -r RUN [-n (without nginx)] [-- CMD ARG...]. Returns the exit status. */
int supervise_main(int count, char **arguments);

#endif

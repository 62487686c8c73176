/*
 * The process above procd, which is the supervisor of the services (s6-svscan) and the subreaper of
 * them all: it adopts the runners of a procd that has died, and what those leave.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <sys/types.h>

#define SUPERVISOR_FILE "supervisor" /* in the run directory; the launcher writes its pid there */

/*
 * The supervisor of this run, held: *pid and a descriptor (process_hold.h), which the caller
 * closes. -1 when there is none, because RUN/supervisor does not name an ancestor of this process
 * with the name s6-svscan. Then the ancestors belong to somebody else.
 */
int supervisor_open(const char *run_directory, pid_t *pid);

/*
 * The process above procd, which is the supervisor of the services (s6-svscan) and the subreaper of
 * them all: the runners of a procd that has died are its children, and so is what these leave.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_PROCESS_SUPERVISOR_H
#define PROCD_PROCESS_SUPERVISOR_H

#include <sys/types.h>

#define SUPERVISOR_FILE "supervisor" /* in the run directory; the launcher writes its pid there */

/*
 * The supervisor of this run, held: *pid and a descriptor (process_hold.h), which the caller
 * closes. -1 when there is
 * none: RUN/supervisor names no process that is above us and bears the name of s6-svscan, so what
 * lies above is somebody else's.
 */
int supervisor_open(const char *run_directory, pid_t *pid);

#endif

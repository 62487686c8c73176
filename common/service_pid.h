/*
 * The process of a service, by the link that its run script leaves (common/run_files.h).
 */
#pragma once

#include <sys/types.h>

/*
 * Its pid, 0 while there is none, -1 when that is unknown (no descriptor is left). A service has
 * the name of its program; a process that has got the pid of an earlier one has another command
 * line. Thread-safe.
 */
pid_t service_pid(const char *run_directory, const char *service);

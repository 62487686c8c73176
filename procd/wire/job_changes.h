/*
 * Whether a background job has changed: procd counts the changes in a file of the run directory
 * that its clients map, so that a client that knows the list of jobs need not ask again.
 *
 * All but job_changes_open() are thread-safe.
 */
#pragma once

#include <stdint.h>

/* Maps the file, which is made if need be. 0, or -1 with errno. It stays mapped for ever. */
int job_changes_open(const char *run_directory);

/* For procd, before anybody is told of the change: a job was begun, has ended, or was forgotten. */
void job_changes_count(void);

/* The changes so far. The number does not begin anew when procd does. */
uint64_t job_changes_counted(void);

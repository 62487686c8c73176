/*
 * How a background process has ended, by the files in its directory (procd/log/job_files.h): a stop
 * of the server that has ended it may have ended procd, too.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>

struct job;

/* 1 when it has ended with its log whole, or has been forgotten; 0 when it has not; -1 with errno
 * when that is unknown. */
int job_end_is_there(int directory);

/* Reads the status, the time and the ending into *job. False with errno when that cannot be read:
 * ENOENT when it has been forgotten. */
bool job_end_read(int directory, struct job *job);

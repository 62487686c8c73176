/*
 * The position file of a background job (job_files.h): where its log begins and ends on the disk,
 * and how many lines it has lost, so that this can be known without reading the log. The runner
 * writes it right after each change of the log; a reader may be one change behind.
 *
 * Thread-safe.
 */
#pragma once

#include "procd/wire/words.h"

/*
 * Writes the file of a new log, so that its room is claimed and a full disk cannot stop it later.
 * Its descriptor, for job_position_update and owned by the caller, or -1 with errno.
 */
int job_position_create(int directory, const struct job_position *position);

/* Writes over it by one pwrite(2). 0, or -1 with errno. */
int job_position_update(int fd, const struct job_position *position);

/*
 * 0, or -1 with errno: ENOENT when there is no such file, EBADMSG for a damaged one.
 */
int job_position_read(int directory, struct job_position *position);

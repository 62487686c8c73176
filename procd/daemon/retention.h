/*
 * Which jobs that have ended are kept: those that ended last, as many and as long as the settings
 * say. Others are removed with their files.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "procd/daemon/registered_job.h"

/* At most `keep` are kept, each for `keep_ms` (0: for ever). */
void retention_open(size_t keep, uint64_t keep_ms);

/* Removes what is too much and what is too old now, and by a timer what will be too old. */
void retention_apply(void);

/* Removes a job that has ended, with its files. */
void retention_remove(struct registered_job *job);

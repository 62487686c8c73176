/*
 * The segments of a job's log on the disk (job_files.h): finding and opening them. A log of events
 * and the byte log of a terminal differ in the names of their segments.
 *
 * Thread-safe.
 */
#pragma once

#include <stdint.h>

#define JOB_SEGMENT_NONE      UINT64_MAX
#define JOB_SEGMENT_NAME_SIZE 64

/* No log grows so long, so the sum of a beginning and a file's length never overflows. */
#define JOB_SEGMENT_START_MAX ((uint64_t)INT64_MAX / 2)

void job_segment_name(char name[JOB_SEGMENT_NAME_SIZE], uint64_t start);

/* Opens the segment that begins at `start`; `flags` as for openat(2). -1 with errno. */
int job_segment_open(int directory, uint64_t start, int flags);

/*
 * Looks through a job's directory: *before is the beginning of the last segment that begins at or
 * before `offset`, *after that of the first one behind it; JOB_SEGMENT_NONE if there is none. 0, or
 * -1 with errno.
 */
int job_segment_find(int directory, uint64_t offset, uint64_t *before, uint64_t *after);

/* The same for the segments of a byte log. */
void byte_segment_name(char name[JOB_SEGMENT_NAME_SIZE], uint64_t start);
int byte_segment_open(int directory, uint64_t start, int flags);
int byte_segment_find(int directory, uint64_t offset, uint64_t *before, uint64_t *after);

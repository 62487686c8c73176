/*
 * A segment is known by its name, so the directory is the index of the log.
 */
#include "procd/log/job_segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/io.h"
#include "procd/log/job_files.h"

static void segment_name(const char *prefix, char name[JOB_SEGMENT_NAME_SIZE], uint64_t start)
{
    (void)snprintf(name, JOB_SEGMENT_NAME_SIZE, "%s%020llu", prefix, (unsigned long long)start);
}

/* The offset in a file's name, or JOB_SEGMENT_NONE if it is not a segment's name in its only
 * spelling. */
static uint64_t start_of(const char *prefix, const char *name)
{
    const size_t length = strlen(prefix);
    char again[JOB_SEGMENT_NAME_SIZE];
    if (strncmp(name, prefix, length) != 0) {
        return JOB_SEGMENT_NONE;
    }
    uint64_t start = strtoull(name + length, NULL, 10);
    segment_name(prefix, again, start);
    return strcmp(name, again) == 0 && start <= JOB_SEGMENT_START_MAX ? start : JOB_SEGMENT_NONE;
}

static int find_segment(int directory, const char *prefix, uint64_t offset, uint64_t *before,
                        uint64_t *after)
{
    *before = *after = JOB_SEGMENT_NONE;
    cleanup_directory DIR *entries = directory_list(directory);
    if (entries == NULL) {
        return errno == ENOENT ? 0 : -1; /* the directory itself was removed */
    }
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        uint64_t start = start_of(prefix, name);
        if (start == JOB_SEGMENT_NONE) {
            continue;
        }
        if (start <= offset) {
            *before = *before == JOB_SEGMENT_NONE || start > *before ? start : *before;
        } else {
            *after = start < *after ? start : *after;
        }
    }
    return errno == 0 ? 0 : -1;
}

/* ---- a log of events ---- */

void job_segment_name(char name[JOB_SEGMENT_NAME_SIZE], uint64_t start)
{
    segment_name(JOB_SEGMENT_PREFIX, name, start);
}

int job_segment_open(int directory, uint64_t start, int flags)
{
    char name[JOB_SEGMENT_NAME_SIZE];
    job_segment_name(name, start);
    return io_open_regular(directory, name, flags);
}

int job_segment_find(int directory, uint64_t offset, uint64_t *before, uint64_t *after)
{
    return find_segment(directory, JOB_SEGMENT_PREFIX, offset, before, after);
}

/* ---- a byte log ---- */

void byte_segment_name(char name[JOB_SEGMENT_NAME_SIZE], uint64_t start)
{
    segment_name(BYTE_SEGMENT_PREFIX, name, start);
}

int byte_segment_open(int directory, uint64_t start, int flags)
{
    char name[JOB_SEGMENT_NAME_SIZE];
    byte_segment_name(name, start);
    return io_open_regular(directory, name, flags);
}

int byte_segment_find(int directory, uint64_t offset, uint64_t *before, uint64_t *after)
{
    return find_segment(directory, BYTE_SEGMENT_PREFIX, offset, before, after);
}

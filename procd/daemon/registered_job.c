#include "procd/daemon/registered_job.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/clock.h"
#include "procd/wire/job_changes.h"

struct registered_jobs registered_jobs;

uint64_t registered_job_new_age_key(void)
{
    uint64_t now = clock_boot_ns();
    registered_jobs.newest = now > registered_jobs.newest ? now : registered_jobs.newest + 1;
    return registered_jobs.newest;
}

struct registered_job *registered_job_find(const char *id)
{
    for (size_t i = registered_jobs.count; i-- > 0;) {
        if (strcmp(registered_jobs.all[i]->record.id, id) == 0) {
            return registered_jobs.all[i];
        }
    }
    return NULL;
}

size_t registered_job_after(uint64_t age_key)
{
    size_t low = 0;
    size_t high = registered_jobs.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (registered_jobs.all[middle]->record.age_key > age_key) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

int registered_job_insert(struct registered_job *job)
{
    if (ARRAY_RESERVE_ONE(registered_jobs.all, registered_jobs.capacity, registered_jobs.count) <
        0) {
        return -1;
    }
    size_t at = registered_job_after(job->record.age_key);
    memmove(registered_jobs.all + at + 1, registered_jobs.all + at,
            (registered_jobs.count++ - at) * sizeof(struct registered_job *));
    registered_jobs.all[at] = job;
    job_changes_count();
    if (job->record.age_key > registered_jobs.newest) {
        registered_jobs.newest = job->record.age_key;
    }
    return 0;
}

void registered_job_remove(size_t index)
{
    struct registered_job *job = registered_jobs.all[index];
    registered_jobs.count--;
    job_changes_count();
    memmove(registered_jobs.all + index, registered_jobs.all + index + 1,
            (registered_jobs.count - index) * sizeof(struct registered_job *));
    job_record_clear(&job->record);
    free(job);
}

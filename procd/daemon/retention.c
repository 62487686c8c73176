#include "procd/daemon/retention.h"

#include "common/clock.h"
#include "procd/daemon/orders.h"
#include "procd/jobs/job_directory.h"

/* How long the next look at what is too old is put off at most, whatever the clock says. */
#define EXPIRY_MOST_MS 60000
#define NS_PER_MS      1000000

static struct timer expiry_timer = {.due = retention_apply};

static struct {
    size_t keep;
    uint64_t keep_ms;
} retention;

void retention_open(size_t keep, uint64_t keep_ms)
{
    retention.keep = keep;
    retention.keep_ms = keep_ms;
}

static void remove_at(size_t index)
{
    struct registered_job *job = registered_jobs.all[index];
    while (!TAILQ_EMPTY(&job->orders)) { /* to end what it has left running */
        orders_finish(TAILQ_FIRST(&job->orders), ORDER_UNKNOWN, 0);
    }
    job_directory_remove(job->record.id);
    registered_jobs.finished--;
    registered_job_remove(index);
}

void retention_remove(struct registered_job *job)
{
    for (size_t i = registered_jobs.count; i-- > 0;) {
        if (registered_jobs.all[i] == job) {
            remove_at(i);
            return;
        }
    }
}

/* By the time of its end: a job that ran for long and has just ended is news. */
static size_t oldest_finished(void)
{
    size_t oldest = registered_jobs.count;
    for (size_t i = 0; i < registered_jobs.count; i++) {
        const struct registered_job *job = registered_jobs.all[i];
        if (job->state == REGISTERED_ENDED &&
            (oldest == registered_jobs.count ||
             job->ending.ended_boot_ns < registered_jobs.all[oldest]->ending.ended_boot_ns)) {
            oldest = i;
        }
    }
    return oldest;
}

/* How many ms the job may still be kept; 0 or less when its time is over. */
static int64_t time_left(const struct registered_job *job)
{
    if (retention.keep_ms == 0) {
        return INT64_MAX;
    }
    int64_t age_ms = ((int64_t)clock_boot_ns() - (int64_t)job->ending.ended_boot_ns) / NS_PER_MS;
    return (int64_t)retention.keep_ms - age_ms;
}

void retention_apply(void)
{
    expiry_timer.at = 0;
    while (registered_jobs.finished > 0) {
        size_t oldest = oldest_finished();
        int64_t left = time_left(registered_jobs.all[oldest]);
        if (registered_jobs.finished <= retention.keep && left > 0) {
            if (retention.keep_ms > 0) {
                loop_call_at(&expiry_timer, clock_monotonic_ms() +
                                                (left < EXPIRY_MOST_MS ? left : EXPIRY_MOST_MS));
            }
            return;
        }
        remove_at(oldest);
    }
}

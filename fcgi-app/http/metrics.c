/*
 * Additions are relaxed: nothing is decided by the numbers, and a scrape in the middle of a request
 * gets the rest of it the next time.
 */
#include "fcgi-app/http/metrics.h"

#include <time.h>

/* From a /run that does nothing to a command of minutes. */
const uint64_t metrics_bounds_us[METRICS_BOUNDS] = {
    1000,   2500,    5000,    10000,   25000,    50000,    100000,   250000,
    500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 300000000};

#define CLIENT_LEFT 499

static struct metrics counted;

static void count_up(uint64_t *count, uint64_t number)
{
    (void)__atomic_fetch_add(count, number, __ATOMIC_RELAXED);
}

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static size_t bucket(uint64_t duration_us)
{
    size_t i = 0;
    while (i < METRICS_BOUNDS && duration_us > metrics_bounds_us[i]) {
        i++;
    }
    return i;
}

const char *run_outcome_name(enum run_outcome outcome)
{
    static const char *const names[RUN_OUTCOMES] = {"exit", "signal",    "killed", "timeout",
                                                    "oom",  "cancelled", "lost",   "failed"};
    return names[outcome];
}

struct measured metrics_begin(unsigned endpoint)
{
    return (struct measured){.endpoint = endpoint, .begun_us = now_us()};
}

void metrics_sent(const struct measured *measured, size_t bytes)
{
    if (measured->endpoint < METRICS_ENDPOINTS) {
        count_up(&counted.sent[measured->endpoint], bytes);
    }
}

void metrics_end(const struct measured *measured)
{
    if (measured->endpoint >= METRICS_ENDPOINTS) {
        return;
    }
    int status = measured->status == 0 ? CLIENT_LEFT : measured->status;
    uint64_t duration_us = (uint64_t)(now_us() - measured->begun_us);
    count_up(&counted.duration_us[measured->endpoint], duration_us);
    count_up(&counted.durations[measured->endpoint][bucket(duration_us)], 1);
    count_up(&counted.requests[measured->endpoint][api_status_index(status)], 1);
}

void metrics_run(enum run_outcome outcome)
{
    count_up(&counted.runs[outcome], 1);
}

void metrics_transferred(enum transfer_direction direction, uint64_t bytes)
{
    count_up(&counted.transferred[direction], bytes);
}

void metrics_gap(uint64_t bytes, uint64_t lines)
{
    count_up(&counted.gap_bytes, bytes);
    count_up(&counted.gap_lines, lines);
    count_up(&counted.gaps, 1);
}

void metrics_take(struct metrics *metrics)
{
    const uint64_t *from = (const uint64_t *)(const void *)&counted;
    uint64_t *to = (uint64_t *)(void *)metrics;
    for (size_t i = 0; i < sizeof(*metrics) / sizeof(*to); i++) {
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    }
}

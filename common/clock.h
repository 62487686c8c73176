/*
 * The clocks: the date, and those that only go forward, for durations.
 */
#pragma once

#include <stdint.h>
#include <sys/time.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); /* fails for unknown clocks only */
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Milliseconds since some time in the past. */
static inline int64_t clock_monotonic_ms(void)
{
    return (int64_t)(clock_ns(CLOCK_MONOTONIC) / 1000000U);
}

/* Nanoseconds since the boot, with those in which the machine slept: for how long something is
 * kept, and for an order that no change of the date reverses. */
static inline uint64_t clock_boot_ns(void)
{
    return clock_ns(CLOCK_BOOTTIME);
}

/* Nanoseconds since the epoch. */
static inline uint64_t clock_date_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

/* The milliseconds of a duration, as getrusage(2) returns it. */
static inline uint64_t clock_duration_ms(struct timeval duration)
{
    return (uint64_t)duration.tv_sec * 1000U + (uint64_t)duration.tv_usec / 1000U;
}

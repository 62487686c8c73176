/*
 * What fcgi-app counts for GET /metrics since its start: a fixed set of numbers. Labels come from
 * the lists of endpoints and statuses (api/) and the list here, so no client can make one.
 * Everything is thread-safe, allocates nothing and costs a few atomic additions a request.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "api/endpoints.h"
#include "api/statuses.h"

#define METRICS_ENDPOINTS (API_COUNT + 1) /* the last is whatever has no row in the table */

/* The statuses of the list (api/statuses.h), and any other. */
#define METRICS_STATUSES (API_STATUS_COUNT + 1)

/* The upper bounds of a histogram's buckets, in microseconds; the last bucket has none. */
#define METRICS_BOUNDS 16
extern const uint64_t metrics_bounds_us[METRICS_BOUNDS];

/* What became of a foreground command. */
enum run_outcome {
    RUN_EXITED,
    RUN_SIGNALLED,
    RUN_KILLED, /* by /kill_run */
    RUN_TIMED_OUT,
    RUN_OUT_OF_MEMORY,
    RUN_CANCELLED, /* its client left, or the server stops */
    RUN_RUNNER_LOST,
    RUN_FAILED, /* its output could not be kept here: the command was ended */
    RUN_OUTCOMES,
};

/* "exit", "signal", "killed", "timeout", "oom", "cancelled", "lost" or "failed". */
const char *run_outcome_name(enum run_outcome outcome);

/* The measure of one request, which it belongs to. */
struct measured {
    unsigned endpoint; /* its number; beyond METRICS_ENDPOINTS: it is not counted */
    int status;        /* of the answer; 0 until that is begun */
    int64_t begun_us;
};

/* Begins to measure. `endpoint` is a number below METRICS_ENDPOINTS, or METRICS_NONE for what is no
 * client's request. */
#define METRICS_NONE METRICS_ENDPOINTS
struct measured metrics_begin(unsigned endpoint);

/* Bytes of an answer's body went to nginx. */
void metrics_sent(const struct measured *measured, size_t bytes);

/* The request is over. */
void metrics_end(const struct measured *measured);

void metrics_run(enum run_outcome outcome);

/* Bytes of a file went to a client, or came from one. */
enum transfer_direction { TRANSFER_OUT, TRANSFER_IN, TRANSFER_DIRECTIONS };
void metrics_transferred(enum transfer_direction direction, uint64_t bytes);

/* The reader of a log got an event for a gap of this size (0 lines: unknown). */
void metrics_gap(uint64_t bytes, uint64_t lines);

/* All the numbers, of uint64_t alone. Each is right, and those of one request may come one after
 * the other. */
struct metrics {
    uint64_t requests[METRICS_ENDPOINTS][METRICS_STATUSES];
    uint64_t durations[METRICS_ENDPOINTS][METRICS_BOUNDS + 1]; /* by bucket, not cumulated */
    uint64_t duration_us[METRICS_ENDPOINTS];                   /* their sum */
    uint64_t sent[METRICS_ENDPOINTS];                          /* bytes */
    uint64_t runs[RUN_OUTCOMES];
    uint64_t transferred[TRANSFER_DIRECTIONS]; /* bytes */
    uint64_t gaps, gap_bytes, gap_lines;
};

/* What they are now. */
void metrics_take(struct metrics *metrics);

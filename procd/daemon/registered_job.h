/*
 * The jobs that the registry knows, in an array by age. For the files of the registry, and read by
 * those who ask it.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_DAEMON_REGISTERED_JOB_H
#define PROCD_DAEMON_REGISTERED_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "procd/daemon/loop.h"
#include "procd/jobs/job_record.h"
#include "procd/wire/words.h"

enum registered_state {
    REGISTERED_UNDECIDED, /* its directory says what it is now, and is to be read */
    REGISTERED_HEARD,     /* its runner is connected and has all orders */
    REGISTERED_BEHIND,    /* the same, but an order found no room in the socket */
    REGISTERED_ENDED,     /* ending.status is no longer JOB_RUNNING */
};

enum expected_end {
    END_NOT_EXPECTED,
    END_EXPECTED, /* an order is to end it by overdue_at */
    END_OVERDUE,  /* it did not, which has been logged: procd kills from overdue_at on */
};

struct registered_job {
    struct watch runner; /* first: a watch is its job. Open while the runner is connected */
    enum registered_state state;
    struct job_record record;
    struct job_exit ending;
    bool has_position; /* of an ended one; a running one has it on the disk */
    struct job_position position;
    enum expected_end expected_end;
    int64_t overdue_at;                   /* clock_monotonic_ms() */
    TAILQ_HEAD(order_list, order) orders; /* in the order in which they were given */
};

/* Read by all; `finished` is counted where jobs end and where they go. */
extern struct registered_jobs {
    struct registered_job **all; /* oldest first */
    size_t count;
    size_t finished; /* of these have ended */
    size_t capacity;
    uint64_t newest; /* the greatest age_key so far: no two jobs have the same */
} registered_jobs;

/* What jobs are ordered by, for the record of a new one: ns since the boot, and no two have the
 * same. */
uint64_t registered_job_new_age_key(void);

/* NULL if there is none. */
struct registered_job *registered_job_find(const char *id);

/* The place of the first job with a greater age_key. */
size_t registered_job_after(uint64_t age_key);

/* Takes the job, which is allocated and has its record. 0, or -1 with errno. */
int registered_job_insert(struct registered_job *job);

/* Takes out and frees the job at this place. */
void registered_job_remove(size_t index);

#endif

/*
 * The jobs that the registry knows, in an array by age. The files of the registry change them;
 * others read the one that registry_find() has returned.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "procd/daemon/loop.h"
#include "procd/jobs/job_record.h"
#include "procd/wire/words.h"

enum registered_state {
    REGISTERED_UNDECIDED, /* what it is now is to be read in its directory */
    REGISTERED_HEARD,     /* its runner is connected and has all orders */
    REGISTERED_BEHIND,    /* the same, but an order found no room in the socket */
    REGISTERED_ENDED,     /* ending is valid; before, its status is JOB_RUNNING */
};

enum overdue {
    OVERDUE_NEVER, /* no order is to end it */
    OVERDUE_LATER, /* an order is to end it by overdue_at */
    OVERDUE_NOW,   /* it did not: procd has logged that, and kills at overdue_at */
};

struct registered_job {
    struct watch runner; /* first: a watch is its job. Open while the runner is connected */
    enum registered_state state;
    struct job_record record;
    struct job_exit ending;
    bool has_position; /* of an ended one; a running one has it on the disk */
    struct job_position position;
    bool is_killed; /* its runner has got an order to kill it at once */
    enum overdue overdue;
    int64_t overdue_at;                   /* clock_monotonic_ms() */
    TAILQ_HEAD(order_list, order) orders; /* in the order in which they were given */
};

/* The array is changed here, `finished` where jobs end and where they are removed. */
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

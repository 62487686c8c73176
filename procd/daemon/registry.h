/*
 * The background jobs, as the state directory has them: procd keeps nothing that it could not read
 * there again. A job that was just started, one that is found at procd's start, and one whose
 * runner has fallen silent take the same path, registry_adopt(). Jobs that have ended are removed
 * in time (retention.h), those that run never.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "procd/daemon/orders.h"
#include "procd/daemon/registered_job.h"
#include "procd/wire/protocol.h"

/* A job that is being started, embedded in what starts it. */
struct expected_job {
    char id[JOB_ID_SIZE];
    bool has_terminal;
    LIST_ENTRY(expected_job) entry;
};

/*
 * Opens RUN/state/jobs below `run_directory`, makes it if need be, finds its jobs. At most
 * `keep_finished` ended ones are kept, each for `keep_finished_ms` (0: for ever). 0, or -1 with
 * errno.
 */
int registry_open(const char *run_directory, size_t keep_finished, uint64_t keep_finished_ms);

/*
 * How many jobs run, those included that are being started: by this procd, from registry_expect()
 * on, and by runners to which an earlier procd has given one.
 */
size_t registry_running(void);

/* How many of them have a terminal; a job that an earlier procd has given to a runner counts once
 * its record can be read. */
size_t registry_terminals(void);

/* A job is being started, with a terminal or without; what comes of it is reported by one of the
 * next three. */
void registry_expect(struct expected_job *job, const char *id, bool has_terminal);

/* The job has begun: takes it from its directory, at once or as soon as that can be read. */
void registry_adopt(struct expected_job *job);

/*
 * The runner has died without an answer: the job has begun if there is a record. 1 with its *pid; 0
 * when it has not begun, and is still to be given up; -1 when that can only be seen later.
 */
int registry_adopt_silent(struct expected_job *job, pid_t *pid);

/* The job has not begun: removes its files. */
void registry_give_up(struct expected_job *job);

/* The job as it is now, also for a client that has seen its exit record already. NULL if there is
 * none. Valid until the next call of this file. */
struct registered_job *registry_find(const char *id);

/* Gives an order. True: order->done is called later, or has been. False: the job has ended (or, of
 * an ORDER_LEFT, has left nothing running), and the order is not taken. */
bool registry_order(struct registered_job *job, struct order *order);

/* Appends all fields of a job, those of what it has left running with `left`. */
void registry_describe_job(struct registered_job *job, bool left, struct message *message);

/*
 * Appends the fields of jobs, oldest first, that are younger than the one with the key `after` (0:
 * all): as many as make a message of some size, and a field that says so when there are more.
 */
void registry_describe(uint64_t after, bool left, struct message *message);

/*
 * The background jobs, as the state directory has them: procd keeps nothing that it could not read
 * there again. A job that was just started, one that is found at procd's start, and one whose
 * runner has fallen silent take the same path, registry_adopt.
 *
 * The JOBS_FINISHED_MAX jobs that ended last are kept, others are removed with their files;
 * running ones never are.
 */
#ifndef PROCD_REGISTRY_H
#define PROCD_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "procd/client.h"
#include "procd/loop.h"
#include "procd/protocol.h"

#define JOBS_FINISHED_MAX 1000

struct registered_job;

/* Who waits for the end of a job that is being killed: called once, with the job ended or lost. */
struct kill_waiter {
    void (*ended)(struct kill_waiter *waiter, bool by_this_order, enum job_status status);
    struct kill_waiter *next;   /* the registry's */
    struct registered_job *job; /* NULL when it does not wait */
};

/* Opens RUN/state/jobs below `run_directory`, makes it if need be, finds its jobs. 0, or -1 with
 * errno. */
int registry_open(const char *run_directory);

/*
 * Makes the directory of a new job: *id, *started_at and a descriptor that holds the lock which
 * says that somebody has this job; the lock goes with the descriptor to the runner. -1 with errno.
 */
int registry_create(char id[JOB_ID_SIZE], uint64_t *started_at);

/* Removes the directory of a job that could not be started. */
void registry_discard(const char *id);

/* Takes a job from its directory. The job, or NULL with errno. */
struct registered_job *registry_adopt(const char *id);

struct registered_job *registry_find(const char *id);

/* A new descriptor of the job's directory, or -1 with errno. */
int registry_open_directory(const struct registered_job *job);

/*
 * Has the job's tree killed. True: `waiter` is called later, unless registry_forget is. False: the
 * job does not run, and *status says what became of it.
 */
bool registry_kill(struct registered_job *job, struct kill_waiter *waiter, enum job_status *status);
void registry_forget(struct kill_waiter *waiter);

/* Forgets all jobs, which go on. */
void registry_close(void);

/* Appends id, pid and started_at of a job. */
void registry_describe_job(const struct registered_job *job, struct message *message);

/* Appends the fields of all jobs, oldest first. */
void registry_describe(struct message *message);

#endif

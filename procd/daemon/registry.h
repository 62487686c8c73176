/*
 * The background jobs, as the state directory has them: procd keeps nothing that it could not read
 * there again. A job that was just started, one that is found at procd's start, and one whose
 * runner has fallen silent take the same path, registry_adopt.
 *
 * Of the jobs that have ended those that ended last are kept, as many and as long as the settings
 * say; others are removed with their files. Running ones never are.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_DAEMON_REGISTRY_H
#define PROCD_DAEMON_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "procd/daemon/loop.h"
#include "procd/wire/words.h"
#include "procd/wire/protocol.h"

struct registered_job;

/* A job that is being started, embedded in who does that. */
struct expected_job {
    char id[JOB_ID_SIZE];
    struct expected_job *next;  /* the registry's */
    struct expected_job **link; /* what points here */
};

/* What a client wants of a job that runs. */
enum order_kind {
    ORDER_KILL,   /* its end, which is awaited */
    ORDER_SIGNAL, /* a signal; done when it is on its way */
    ORDER_WRITE,  /* input; done when the runner says how much it took */
    ORDER_WAIT,   /* nothing but to hear of its end */
    ORDER_LEFT,   /* of a job that has ended: the end of what it has left running */
};

enum order_result {
    ORDER_DONE,
    ORDER_NOT_RUNNING, /* the job ended before it was done */
    ORDER_NO_STDIN,
    ORDER_UNKNOWN, /* the runner has the order and will not answer any more */
};

/*
 * An order is embedded in who gives it, and the registry's until `done` is called, once, with the
 * job as it is then; or until registry_forget.
 */
struct order {
    enum order_kind kind;
    struct message
        message;      /* to the runner; cleared by the registry. Not of ORDER_WAIT, ORDER_LEFT */
    uint64_t serial;  /* of ORDER_WRITE: who gives it up may be followed by another */
    int64_t grace_ms; /* of ORDER_KILL: how long the tree has from its signal on */
    void (*done)(struct order *order, enum order_result result, struct registered_job *job,
                 size_t written);
    struct order *next;         /* the registry's */
    struct registered_job *job; /* NULL when it does not wait */
    bool sent;
    int64_t give_up_at; /* of ORDER_LEFT */
};

/*
 * Opens RUN/state/jobs below `run_directory`, makes it if need be, finds its jobs. At most
 * `keep_finished` ended ones are kept, each for `keep_finished_ms` (0: for ever). 0, or -1 with
 * errno.
 */
int registry_open(const char *run_directory, size_t keep_finished, uint64_t keep_finished_ms);

/* What jobs are ordered by, for the record of a new one: ns since the boot, and no two have the
 * same.
 */
uint64_t registry_new_age_key(void);

/* A number for an order, different from all before. */
uint64_t registry_new_serial(void);

/*
 * How many jobs run, those included that are being started: by us, from registry_expect() on, and
 * by runners that an earlier procd has given one.
 */
size_t registry_running(void);

/* A job is being started, and who starts it tells what comes of it: by one of the next two. */
void registry_expect(struct expected_job *job, const char *id);

/* Takes a job that runs on from its directory, at once or as soon as that can be read. */
void registry_adopt(struct expected_job *job);

/*
 * The same of a job whose runner has said nothing: it has begun if there is a record. 1 with its
 * *pid; 0 when it has not, and it is still to be given up; -1 when that can only be seen later.
 */
int registry_adopt_silent(struct expected_job *job, pid_t *pid);

/* There will be no such job: removes its files. */
void registry_give_up(struct expected_job *job);

/* NULL when there is none. Whoever asks may have seen the job's exit record: what is told of the
 * job from here on is no older. Valid until the next call of this file. */
struct registered_job *registry_find(const char *id);

const char *registry_id(const struct registered_job *job);
const char *registry_request_id(const struct registered_job *job); /* of what started it, or "" */
enum job_status registry_status(const struct registered_job *job);

/* Gives an order. True: order->done is called later, or has been. False: the job has ended, and
 * the order is not taken. */
bool registry_order(struct registered_job *job, struct order *order);

/* The same with an ORDER_LEFT to a job that has ended. False: it has left nothing running. */
bool registry_order_left(struct registered_job *job, struct order *order);
void registry_forget(struct order *order);

/* Removes a job that has ended, with its files. */
void registry_delete(struct registered_job *job);

/* Forgets all jobs, which go on. */
void registry_close(void);

/* The key of the last job that was not started later (ns since the epoch), 0 if there is none: for
 * clients that know no keys. */
uint64_t registry_age_key_of(uint64_t started_at);

/* Appends all fields of a job, those of what it has left running with `left`. */
void registry_describe_job(struct registered_job *job, bool left, struct message *message);

/*
 * Appends the fields of jobs, oldest first, that are younger than the one with the key `after` (0:
 * all): as many as make a message of some size, and a field that says so when there are more.
 */
void registry_describe(uint64_t after, bool left, struct message *message);

#endif

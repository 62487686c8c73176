/*
 * A job with a terminal that somebody views: its directory, which is watched, and the connection to
 * its runner, once for all who view it. What they see is a cursor of each in the job's byte log
 * (viewer.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "procd/jobs/job_record.h"
#include "terminal/loop.h"

struct viewer;
TAILQ_HEAD(writer_list, viewer);
TAILQ_HEAD(caller_list, viewer);

struct viewed_job {
    LIST_ENTRY(viewed_job) all;
    struct loop_garbage garbage;
    char id[JOB_ID_SIZE];
    int directory;
    int descriptor;   /* of inotify */
    unsigned changed; /* what it has reported and nobody has looked at */
    bool has_ended;
    struct job_exit ending;
    struct terminal_size size;
    LIST_HEAD(, viewer) viewers;

    struct watched runner;      /* fd -1: it has gone, or has hung up */
    bool runner_is_full;        /* it takes no order now */
    bool is_sought;             /* a lookup for a new connection is under way */
    int tries;                  /* lookups since the runner has said anything */
    bool owes_size;             /* the newest one, */
    struct terminal_size owed;  /* which is still to be sent */
    struct caller_list callers; /* those with an order that is still to be sent */
    struct writer_list writers; /* those with input, in the order of their first byte */
    struct viewer *asker; /* whose input the runner is being given; NULL: nobody's (any more) */
    bool is_asked;        /* and has not answered yet: */
    int64_t serial;
    size_t asked_length;
    bool awaits_room;      /* the terminal is full */
    struct viewer *typist; /* who has typed last; NULL: nobody here (any more) */
};

enum input_refusal {
    REFUSED_LINE_TOO_LONG,
    REFUSED_ENDED, /* nobody takes input */
    REFUSED_LOST,  /* what was sent to the runner may have been typed, or not */
};

/* What the jobs' users do. */
struct viewed_job_uses {
    void (*has_bytes)(struct viewer *viewer); /* or an end */
    void (*has_size)(struct viewer *viewer);
    void (*has_gone)(struct viewer *viewer); /* the job has been deleted */
    void (*was_written)(struct viewer *viewer, size_t length);
    void (*was_refused)(struct viewer *viewer, enum input_refusal why);
    void (*order_is_done)(struct viewer *viewer, bool is_refused); /* one that was SENT_LATER */
};

/* Begins to watch. 0, or -1 with errno. Call once. */
int viewed_jobs_start(const struct viewed_job_uses *uses);

/* The job if it is viewed already, and its runner can be reached, or it has ended; else NULL. */
struct viewed_job *viewed_job_find(const char *id);

/* The job with this directory (borrowed) and connection to its runner, which it takes of what is
 * there (-1: none); it ends with its last viewer. NULL with errno: ENOENT for a job without a
 * terminal. */
struct viewed_job *viewed_job_open(const char *id, int directory, int *runner);

/* To call when a viewer has left. */
void viewed_job_leave(struct viewed_job *job);

/* To call with the answer to a lookup: a job that has sought its runner takes it of what is there
 * (-1: none). */
void viewed_job_found(const char *id, int *runner);

/* ---- the runner ---- */

enum sent {
    SENT_NOW,
    SENT_LATER, /* the runner takes nothing now */
    SENT_NEVER, /* it has gone */
};

/* A size that is sent later gives way to a newer one. */
enum sent viewed_job_resize(struct viewed_job *job, const struct terminal_size *size);

/* A signal, or VIEWER_EOF. The viewer has no other one until order_is_done(). */
enum sent viewed_job_order(struct viewer *viewer, int order);

/* Gives the runner what the writers have, as far as it takes it. */
void viewed_job_pump(struct viewed_job *job);

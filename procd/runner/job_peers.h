/*
 * The connections over which a background job takes orders: procd's, and those that procd has made
 * for clients of a terminal, by a socket in the job's directory.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>

#include "procd/jobs/job_record.h"

#define JOB_PEERS_MAX 8 /* procd and clients, and their predecessors that are not gone yet */

/* Owned descriptors; -1: there is none. */
struct job_peers {
    int listener;
    int all[JOB_PEERS_MAX];         /* the newest is the last */
    bool wants_room[JOB_PEERS_MAX]; /* it waits until the terminal takes more input */
};

#define JOB_PEERS_NONE                                                                             \
    {                                                                                              \
        .listener = -1, .all = { -1, -1, -1, -1, -1, -1, -1, -1 }                                  \
    }

/* Listens in the job's directory. 0, or -1 with errno. */
int job_peers_listen(struct job_peers *peers, int directory);

/* Accepts one connection, without waiting. The newest is used: where there is no room the oldest
 * has to go, and comes again if it is still needed. Whether there was one. */
bool job_peers_accept(struct job_peers *peers);

/* Sends ENDED to all of them. One that cannot be reached finds the same in the exit record. */
void job_peers_report_end(const struct job_peers *peers, const struct job_exit *ending);

/* Whether one waits until the terminal takes more input. */
bool job_peers_want_room(const struct job_peers *peers);

void job_peers_close(struct job_peers *peers);

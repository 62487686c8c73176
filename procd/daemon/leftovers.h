/*
 * What a job that has ended has left running on purpose: processes below its runner, which stays
 * for them (linger.h).
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>

#include "procd/daemon/orders.h"
#include "procd/daemon/registered_job.h"
#include "procd/wire/protocol.h"

/* Gives an ORDER_LEFT to a job that has ended: kills what it has left until nothing is there. False
 * when it has left nothing: the order is not taken. */
bool leftovers_kill(struct registered_job *job, struct order *order);

/* Appends the pids and names of some of what a job has left; nothing for one that runs. */
void leftovers_describe(struct registered_job *job, struct message *message);

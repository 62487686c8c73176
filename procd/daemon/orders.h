/*
 * What clients want of a job that runs. An order goes to the job's runner; procd kills for a runner
 * that does not end a job in time.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "procd/daemon/registered_job.h"
#include "procd/wire/protocol.h"

enum order_kind {
    ORDER_KILL,   /* its end, which is awaited */
    ORDER_SIGNAL, /* a signal; done when it is on its way */
    ORDER_WRITE,  /* input, or a terminal's size; done when the runner says how much it took */
    ORDER_WAIT,   /* nothing but to hear of its end */
    ORDER_LEFT,   /* of a job that has ended: the end of what it has left running (leftovers.h) */
};

enum order_result {
    ORDER_DONE,
    ORDER_NOT_RUNNING, /* the job ended before it was done */
    ORDER_NO_STDIN,
    ORDER_LINE_TOO_LONG, /* for the job's terminal: nothing was written */
    ORDER_UNKNOWN,       /* the runner has the order and will not answer any more */
};

/*
 * An order is embedded in what gives it, and belongs to its job until `done` is called, once, with
 * the job as it is then; or until orders_forget(). `done` may free the order around it, and changes
 * no other order.
 */
struct order {
    enum order_kind kind;
    struct message message; /* to the runner; cleared here. ORDER_WAIT and ORDER_LEFT send none */
    uint64_t serial;        /* of ORDER_WRITE: one that was given up may be followed by another */
    int64_t grace_ms;       /* of ORDER_KILL: how long the tree has from its signal on */
    void (*done)(struct order *order, enum order_result result, struct registered_job *job,
                 size_t written);
    TAILQ_ENTRY(order) entry;
    struct registered_job *job; /* NULL when it does not wait */
    bool sent;
    int64_t give_up_at; /* of ORDER_LEFT */
};

/* A number for an ORDER_WRITE, different from all before. */
uint64_t orders_new_serial(void);

/* Appends an order to those of a running job, to be sent. */
void orders_add(struct registered_job *job, struct order *order);

/* Sends the orders that have not been sent. True when the socket has no room for one: call it again
 * later. */
bool orders_send(struct registered_job *job);

/* Takes the order from its job and reports what has come of it. */
void orders_finish(struct order *order, enum order_result result, size_t written);

/* Takes the order from its job, if it has one, and reports nothing. */
void orders_forget(struct order *order);

/* Finishes the ORDER_WRITE that an answer of the runner (WROTE, NO_STDIN, LINE_TOO_LONG) is to,
 * unless it was given up. */
void orders_answer(struct registered_job *job, const struct incoming *answer);

/* The runner is connected no more, and yet may be alive: an order to kill can be sent again, and
 * input cannot. */
void orders_lose_runner(struct registered_job *job);

/* Finishes all orders of a job that has ended. */
void orders_end(struct registered_job *job);

/*
 * procd's listening socket and its clients: one connection and one request at a time for each.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "procd/daemon/loop.h"
#include "procd/daemon/orders.h"
#include "procd/daemon/registry.h"
#include "procd/daemon/socket_owners.h"
#include "procd/wire/protocol.h"

/* A background job between START and its runner's answer. */
struct starting {
    struct expected_job job;
    struct client *client; /* NULL when it has gone */
    uint64_t started_at;   /* ns since the epoch */
};

struct client {
    struct watch watch; /* first: a watch is its client */
    LIST_ENTRY(client) entry;
    struct starting *starting; /* NULL unless it waits for that */
    struct order order;        /* given if order.job is not NULL */
    struct socket_lookup lookup;
};

/* Answers a request, now or later. False when the client is to be dropped. */
typedef bool request_function(struct client *client, struct incoming *request);

/*
 * Serves the connections of `listener` (taken over) in the loop: `handle` gets each request, one at
 * a time of each client. 0, or -1 with errno.
 */
int server_open(int listener, request_function *handle);

/* Hangs up. What the client has ordered goes on. */
void client_drop(struct client *client);

/*
 * Answers. False when the client is to be dropped: the answer does not fit into its socket, since
 * nothing in procd waits for a client, or memory is out.
 */
bool client_answer(struct client *client, struct message *message);

/* The same with a message of one number, or of none. */
bool client_answer_number(struct client *client, enum message_type type, enum field_tag tag,
                          int64_t number);
bool client_answer_plain(struct client *client, enum message_type type);

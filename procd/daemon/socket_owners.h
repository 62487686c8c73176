/*
 * Which process of a command has a socket open, by the number of the socket's inode.
 *
 * What was found is kept, and looked at again before it is told. Others are looked for below all
 * runners, in pieces between which the loop serves its clients. What nobody there has belongs to no
 * command; it is not looked for again for a while.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "procd/wire/protocol.h"

/* A question about some sockets, embedded in who asks. Zeroed at first. */
struct socket_lookup {
    uint32_t *inodes; /* allocated here */
    size_t count;
    bool waits;
    TAILQ_ENTRY(socket_lookup) entry;

    /* Calls back when all is known; !is_whole: memory or descriptors were out. */
    void (*done)(struct socket_lookup *lookup, bool is_whole);
};

#define SOCKET_LOOKUP_MAX ((size_t)4096) /* further ones are nobody's */

/* Asks about the FIELD_INODEs of an opened message. 1 when all is known at once; 0 when `done`,
 * which the caller has set, is called later; -1 with errno. */
int socket_owners_look(struct socket_lookup *lookup, const struct incoming *request);

/* Appends what is known of a lookup: of each socket that a command has open its inode, the pid and
 * the name of the process and, where it is a job's, the job's id. */
void socket_owners_describe(const struct socket_lookup *lookup, struct message *message);

/* Releases a lookup; one that waits is not called back. Fine on a zeroed one. */
void socket_owners_forget(struct socket_lookup *lookup);

/*
 * Questions to procd about terminals. They block while procd is away, so a thread of their own asks
 * them, one after the other; the loop gets the answers.
 */
#pragma once

#include <sys/queue.h>

#include "procd/wire/client.h"

struct lookup {
    char id[JOB_ID_SIZE];
    enum procd_result result; /* of procd_attach() */
    int directory;            /* owned, as is the runner; -1: there is none */
    int runner;
    TAILQ_ENTRY(lookup) all;
    LIST_ENTRY(lookup) under_way;
};

/* Makes the thread. `done` is called in the loop with each answer, and takes what it wants of it.
 * 0, or -1 with errno. Call once. */
int lookups_start(void (*done)(struct lookup *lookup));

/* Asks, or joins the question about the same process that is under way: a runner needs one
 * connection for all. The question, or NULL when memory is out. It ends after `done`. */
struct lookup *lookup_begin(const char *id);

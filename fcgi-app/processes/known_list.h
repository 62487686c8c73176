/*
 * The last answer of /list_processes, which is given again as long as no job has changed. Only what
 * one buffer holds is known.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer;

/* A moment at which a list is true, or was. */
struct list_moment {
    uint64_t changes; /* that procd had counted */
    uint64_t ends;    /* that were seen here */
};

/* To call before procd is asked for the list. */
struct list_moment known_list_now(void);

/* Keeps what procd has answered since that moment. */
void known_list_keep(struct list_moment moment, const char *data, size_t length);

/* Writes the list if it is known and procd lives, whom nobody could ask otherwise. Whether it did.
 */
bool known_list_write(struct writer *writer);

/* A client is being told that a job has ended, which procd may not have heard yet. */
void known_list_forget(void);

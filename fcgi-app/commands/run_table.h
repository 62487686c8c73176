/*
 * The foreground commands that run, and the last that have ended: a table in a file of the run
 * directory, which fcgi-app maps. So noting a command costs no system call, and the next fcgi-app
 * finds what a killed one has noted. What it finds running there its runner ends, or has ended.
 *
 * Thread-safe but for run_table_open(). Any command may be able to write to the file; it is read
 * with that in mind.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/logger.h"
#include "procd/wire/client.h"

#define RUNS_KEPT        200  /* of those that have ended */
#define RUNS_SHOWN_MOST  4096 /* of those that run */
#define RUN_COMMAND_SIZE 512  /* with its NUL; a longer one is cut */
#define RUN_ID_SIZE      32

/* What has become of a command. */
enum run_state {
    RUN_STATE_NONE, /* there is none */
    RUN_STATE_RUNNING,
    RUN_STATE_ENDED,     /* of itself, or by a signal, a timeout or an order: the ending says how */
    RUN_STATE_CANCELLED, /* its client has left */
    RUN_STATE_STOPPED,   /* the server stopped */
    RUN_STATE_FAILED,    /* its output could not be kept here */
    RUN_STATE_LOST,      /* its runner has died, or fcgi-app */
    RUN_STATES,
};

struct run_entry {
    enum run_state state;
    char id[RUN_ID_SIZE];
    bool streams; /* it came to /run_streaming */
    pid_t pid;
    uint64_t started_at, ended_at; /* ns since the epoch; ended_at 0 while it runs */
    uint64_t order;                /* of the beginnings */
    uint64_t ended_order;          /* of the ends; 0 while it runs */
    struct ending ending;          /* `lost`: nothing of it is known, or it runs */
    char request_id[REQUEST_ID_SIZE];
    char command[RUN_COMMAND_SIZE];
};

/*
 * Maps the table for as many commands as may run at once (0: any number), and notes the end of
 * those that an earlier fcgi-app has left running. Where the file cannot be made the table is in
 * memory alone, after a line in the log. 0, or -1 with errno. Call once, before threads.
 */
int run_table_open(const char *run_directory, uint64_t runs_max);

/* A command in the table, or none, as when the table is full. */
struct run_note {
    bool held;
    unsigned slot;
};

/* Notes that a command runs. Its lease (borrowed) takes orders until run_note_end(). */
void run_note_begin(struct run_note *note, const struct command *command, bool streams,
                    const struct foreground *foreground);

/* Notes the end: to call before the lease is closed, or is another command's. `ending` may be lost.
 */
void run_note_end(struct run_note *note, enum run_state state, const struct ending *ending);

/* Copies all that run and the last RUNS_KEPT that have ended, in the order of their beginnings:
 * *entries, *count of them, to be freed. 0, or -1 when memory is out. */
int run_table_copy(struct run_entry **entries, size_t *count);

/* What came of an order to kill. */
enum run_kill {
    RUN_KILL_DONE,       /* it has ended by this order */
    RUN_KILL_NOT_FOUND,  /* no entry has this id */
    RUN_KILL_HAS_ENDED,  /* it had ended before, or is ended for another reason, or by another order
                          */
    RUN_KILL_FAILED,     /* it could not be ordered: errno says why */
    RUN_KILL_UNFINISHED, /* it has the order and has not ended: something cannot be killed */
};

/* Kills the command's whole tree, and returns when it has ended, or after some seconds. *entry is
 * what is known of it then, if it was found. */
enum run_kill run_table_kill(const char *id, struct run_entry *entry);

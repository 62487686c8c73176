/*
 * What a command left running on purpose lives on: its runner stays as its reaper, and reads and
 * throws away what it writes to the old pipes, because a write to a pipe without a reader kills the
 * writer. When the server stops it gets SIGTERM, and later is killed by the stop.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_RUNNER_LINGER_H
#define PROCD_RUNNER_LINGER_H

/* What an ended command leaves behind. Closed descriptors are -1. */
struct leftover {
    int lease;    /* until it is closed, the pipes are somebody else's to read */
    int pipes[2]; /* read ends */
};

/* Throws away what a pipe holds, once, and closes it at its end. */
void leftover_discard(int *pipe);

/* Returns when no child and no writer to the pipes is left, with all descriptors closed. */
void linger(struct leftover *left, int signals);

#endif

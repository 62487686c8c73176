/*
 * Processes that a command has left running live on. Their runner stays to reap them, and reads and
 * discards what they write to the old pipes, because a write to a pipe without a reader kills the
 * writer. When the server stops they get SIGTERM, and the stop kills them later.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

/* What an ended command leaves behind. Closed descriptors are -1. */
struct leftover {
    int lease;    /* until it is closed, fcgi-app reads the pipes */
    int pipes[2]; /* read ends */
};

/* Reads a pipe once, discards what it holds, and closes it at its end. */
void leftover_discard(int *pipe);

/* Returns when no child and no writer to the pipes is left, with all descriptors closed. */
void linger(struct leftover *left, int signals);

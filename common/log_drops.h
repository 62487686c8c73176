/*
 * How many lines of the log this server has dropped, because they had no reader or a disk was full:
 * one number for all its programs, in a file of the run directory. All but log_drops_open() are
 * thread-safe.
 */
#pragma once

#include <stdint.h>

struct log_drops {
    int64_t lines;   /* since the server was started */
    int64_t last_ms; /* of the last one, by CLOCK_BOOTTIME; 0: there is none */
};

/* Opens the file. 0, or -1 with errno: then, and before the call, a program keeps its own count.
 * The descriptor stays open for ever. Call after inherited ones are closed. */
int log_drops_open(const char *run_directory);

/* Counts so many more. Keeps errno. */
void log_drops_add(int64_t lines);

/* Reads the numbers; what another program is adding now may be missing. 0, or -1 with errno. */
int log_drops_read(struct log_drops *drops);

/*
 * Looks what listens as long as somebody follows that, ten times a second, by a thread that sleeps
 * otherwise; asks procd who listens, and wakes the streams (streams_tell()) when anything is new.
 */
#pragma once

/* Makes the thread. 0, or -1 with errno. Call once, before the first request. */
int port_watch_start(void);

/* Somebody begins to follow, or ends. Thread-safe; neither waits. */
void port_watch_begin(void);
void port_watch_end(void);

/*
 * When a stop of the whole server kills what has not ended by itself. The process that begins the
 * stop, and sends SIGTERM to all commands, leaves the time in the run directory. A process that
 * goes on with the stop does not send SIGTERM again and does not extend the time. Thread-safe.
 */
#pragma once

#include <stdint.h>

/* Leaves the time, of clock_monotonic_ms(), in RUN/stopping, and for fcgi-app, which cannot look
 * there, in the directory of uploads. It is a link, since a full disk has room for one. 0, or -1
 * with errno. */
int stop_deadline_write(const char *run_directory, int64_t deadline);

/* The time; 0 when no stop has begun. */
int64_t stop_deadline_read(const char *run_directory);

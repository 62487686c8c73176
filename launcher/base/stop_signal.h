/*
 * The signals that end a server, while it is being laid out. They are blocked from the first line
 * of main on, so that none is lost and none cuts anything in half: what may take long asks whether
 * one is waiting, and whoever runs once all is laid out reads it (launcher/supervise/).
 *
 * Not thread-safe.
 */
#ifndef LAUNCHER_BASE_STOP_SIGNAL_H
#define LAUNCHER_BASE_STOP_SIGNAL_H

#include <stdbool.h>

/* Blocks all signals. */
void stop_signal_block(void);

/* In a child that executes another program: no signal is blocked. */
void stop_signal_unblock(void);

/* Whether one is waiting. */
bool stop_signal_waits(void);

/* A descriptor that is readable while one is waiting, which it leaves alone; or -1 with errno. */
int stop_signal_open(void);

#endif

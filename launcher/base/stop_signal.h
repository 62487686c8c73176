/*
 * The signals that end a server, while it is being laid out. They are blocked from the first line
 * of main on, so that none is lost and none interrupts a step: long steps check whether one is
 * pending, and `supervise` (launcher/supervise/) reads it.
 *
 * Not thread-safe.
 */
#pragma once

#include <stdbool.h>

/* Blocks all signals. */
void stop_signal_block(void);

/* In a child that executes another program: no signal is blocked. */
void stop_signal_unblock(void);

/* Whether one is pending. */
bool stop_signal_waits(void);

/* A descriptor that is readable while one is pending, and leaves it so; or -1 with errno. */
int stop_signal_open(void);

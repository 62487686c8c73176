/*
 * A foreground command in its runner.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_RUNNER_FOREGROUND_H
#define PROCD_RUNNER_FOREGROUND_H

#include <stdbool.h>

#include "procd/runner/linger.h"
#include "procd/wire/protocol.h"

/*
 * Runs the command of an opened RUN message with *input as its standard input (-1: /dev/null),
 * reports over *lease (both taken over: -1 afterwards), and ends its tree when the lease is closed
 * before its end: by SIGKILL, or by SIGTERM and then SIGKILL where the command has a grace.
 * `signals` is a signalfd for SIGCHLD. Returns true when nothing of the command is left; otherwise
 * *left is what must be stayed for.
 */
bool foreground_run(const struct incoming *command, int *lease, int *input, int signals,
                    struct leftover *left);

#endif

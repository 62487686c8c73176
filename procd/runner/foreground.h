/*
 * A foreground command in its runner.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>

#include "procd/runner/linger.h"
#include "procd/wire/protocol.h"

/*
 * Runs the command of an opened RUN message with *input as its standard input (-1: /dev/null), and
 * reports over *lease; takes both over (-1 afterwards). Ends the command's tree when the lease is
 * closed before its end: by SIGKILL, or by SIGTERM and then SIGKILL where the command has a grace.
 * `signals` is a signalfd for SIGCHLD. Returns true when nothing of the command is left, and *lease
 * is open again for the client's next command if the end was reported; otherwise the runner must
 * stay for *left.
 */
bool foreground_run(const struct incoming *command, int *lease, int *input, int signals,
                    struct leftover *left);

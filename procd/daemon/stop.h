/*
 * The end of the whole server, in the process that was its supervisor (and is the subreaper of
 * all).
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

/*
 * Sends SIGTERM to all commands, unless another process has (stop_deadline.h); waits for them to
 * end, at most SANDBOX_STOP_GRACE, and a little for the supervised services; kills what is left
 * below this process and in the run's cgroups; and removes the run directory if the file
 * `remove-on-exit` is in it. Returns the exit status: 0; 1 if the file `failed` is in it, or
 * something could not be done.
 */
int stop_main(const char *run_directory);

/*
 * The end of the whole server, in the process that was its supervisor (and is the subreaper of
 * all).
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_DAEMON_STOP_H
#define PROCD_DAEMON_STOP_H

/*
 * Waits a little for the supervised services to go by themselves, kills whatever is left below this
 * process, and removes the run directory if the file `remove-on-exit` in it says so. Returns the
 * exit status: 0; 1 if the file `failed` is in it, or something could not be done.
 */
int stop_main(const char *run_directory);

#endif

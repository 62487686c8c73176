/*
 * Part of `nginx-sandbox check`: the daemons of a sandbox, by systemd's units, and by what procd
 * answers, for others may run them.
 */
#ifndef LAUNCHER_MACHINE_CHECK_DAEMONS_H
#define LAUNCHER_MACHINE_CHECK_DAEMONS_H

/* Those of the sandbox `name`, whose run directory is `run`. */
void check_daemons(const char *name, const char *run);

/* Those of a server with this run directory, which no unit is known to run. */
void check_server(const char *run);

#endif

/*
 * Part of `nginx-sandbox check`: whether the daemons of a sandbox run. systemd's units say so, or
 * procd, since other supervisors may run them.
 */
#pragma once

/* Reports which daemons of the sandbox `name` do not run. Its run directory is `run`. */
void check_daemons(const char *name, const char *run);

/* The same for a server with this run directory that no known unit runs. */
void check_server(const char *run);

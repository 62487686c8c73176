/*
 * The configuration table: every SANDBOX_* variable (and PORT, PROXY_PORT) with its default, its
 * range and its parser, in one place. The daemons inherit the environment of the launcher, less the
 * secrets, and each reads what concerns it from here.
 */
#ifndef COMMON_SETTINGS_H
#define COMMON_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

struct settings {
    unsigned port;       /* PORT, 1..65535, default 3030 */
    unsigned proxy_port; /* PROXY_PORT, 1..65535, not PORT, default 3031 */
    uint64_t max_body;   /* SANDBOX_MAX_BODY, bytes, suffix k/m/g, default 256m; 0 is no limit */
    uint64_t log_max;    /* SANDBOX_LOG_MAX, bytes on disk for each job's log, >= 1m, default 64m */
    unsigned max_connections; /* SANDBOX_MAX_CONNECTIONS: requests and streams at once, 16..65536,
                                 default 4096 */
};

/*
 * Reads the environment into *settings; an unset or empty variable takes its default. 0, or -1 with
 * one line that names the variable and what is wrong with it in `error`. Not thread-safe (getenv):
 * call at start.
 */
int settings_read(struct settings *settings, char *error, size_t error_size);

#endif

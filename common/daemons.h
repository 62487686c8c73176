/*
 * Every daemon of the server, once: what starts, checks, reports, awaits or ends them all goes
 * through this list. RUN/service/NAME is the directory of its service, NAME its program, and
 * nginx-sandbox-NAME@ its unit of systemd if it is ours.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>

/*
 * The columns: identifier, name, is_ours, serves.
 * is_ours: a program of this project, which every server runs. Another one may be the operator's,
 * and then the server has no service of that name.
 * serves: clients depend on it, so guard starts it again where s6 does not, and a stop awaits its
 * end.
 */
#define DAEMON_LIST(DAEMON)                                                                        \
    DAEMON(NGINX, "nginx", false, true)                                                            \
    DAEMON(FCGI_APP, "fcgi-app", true, true)                                                       \
    DAEMON(PROCD, "procd", true, true)                                                             \
    DAEMON(TERMINAL, "terminal", true, true)                                                       \
    DAEMON(GUARD, "guard", true, false)

#define DAEMON_NUMBER(identifier, name, is_ours, serves) DAEMON_##identifier,
enum daemon_number { DAEMON_LIST(DAEMON_NUMBER) DAEMON_COUNT };
#undef DAEMON_NUMBER

struct daemon_entry {
    const char *name;
    bool is_ours;
    bool serves;
};

extern const struct daemon_entry server_daemons[DAEMON_COUNT];

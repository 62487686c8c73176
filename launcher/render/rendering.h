/*
 * What a configuration of nginx is rendered from: one or more sandboxes, from the environment of a
 * server or from the files of an installation (launcher/machine/installation.h).
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/settings.h"
#include "common/variables.h"
#include "launcher/render/cors_origins.h"
#include "launcher/render/listen_address.h"
#include "launcher/render/port_rules.h"
#include "launcher/render/prefix.h"
#include "launcher/secrets/secret.h"
#include "launcher/start/layout.h"

#define SANDBOX_NAME_MOST 32 /* bytes */

struct sandbox {
    char name[SANDBOX_NAME_MOST + 1]; /* lower-case letters, digits and - */
    char run[PATH_MAX];               /* its run directory */
    struct variables variables;       /* what the other members are read from */
    struct settings settings;
    struct secrets secrets;   /* count 0: the first token claims the sandbox (claim.h) */
    struct cors_origins cors; /* SANDBOX_CORS_ORIGINS */
    struct listen_addresses proxy_listen;
    struct port_rules ports; /* which of its ports nginx reaches */
};

/* All sandboxes of one nginx, and the settings that they share. */
struct site {
    struct sandbox *sandboxes;
    size_t count;               /* at least 1 */
    struct variables variables; /* what the other members are read from */
    struct settings settings;
    struct secret_salt salt; /* of all digests */
    struct prefixes prefixes;
    const char *map_key;      /* the nginx variable, without its $, that a sandbox is chosen by */
    char *map_entries;        /* the lines of that map */
    struct cors_origins cors; /* of requests for no known sandbox: a preflight has none of the
                                 headers that may choose one */
    struct port_front ports;  /* how nginx reaches them */
    struct listen_address metrics; /* of the listener for Prometheus; size 0: none */
};

/* Everything is borrowed. */
struct rendering {
    int directory;    /* an empty directory, where the files go */
    const char *path; /* what that is called when nginx reads them */
    const struct layout *layout;
    const struct site *site;
    bool may_have_tls; /* it is for another nginx than ours, whose servers may speak TLS */
};

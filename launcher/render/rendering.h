/*
 * What a configuration of nginx is rendered from: the settings of one or more sandboxes.
 */
#ifndef LAUNCHER_RENDER_RENDERING_H
#define LAUNCHER_RENDER_RENDERING_H

#include <stdbool.h>
#include <stddef.h>

#include "common/settings.h"
#include "launcher/render/cors_origins.h"
#include "launcher/render/listen_address.h"
#include "launcher/render/prefix.h"
#include "launcher/secrets/secret.h"
#include "launcher/start/layout.h"

/* A sandbox as nginx knows it. */
struct rendered_sandbox {
    const char *name; /* lower-case letters, digits and - */
    const char *run;  /* its run directory */
    unsigned proxy_port;
    const struct listen_addresses *proxy_listen;
    const struct secrets *secrets; /* count 0: the first token claims the sandbox (claim.h) */
    const struct cors_origins *cors;
};

/* Everything is borrowed. */
struct rendering {
    int directory;    /* an empty directory, where the files go */
    const char *path; /* what that is called when nginx reads them */
    const struct layout *layout;
    const struct settings *settings; /* those that hold for all sandboxes */
    const struct rendered_sandbox *sandboxes;
    size_t count; /* at least 1 */
    const struct secret_salt *salt;
    const struct prefixes *prefixes;
    const char *map_key;     /* the nginx variable, without its $, that a sandbox is chosen by */
    const char *map_entries; /* the lines of that map */
    const struct cors_origins *cors; /* of requests for no known sandbox: a preflight has none of
                                      * the headers that may choose one */
    const struct listen_address *metrics; /* of the listener for Prometheus; size 0: none */
    bool may_have_tls; /* it is for another nginx than ours, whose servers may speak TLS */
};

#endif

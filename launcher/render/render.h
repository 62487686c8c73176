/*
 * nginx's configuration, made of the files of nginx/ and of what the settings say: what the
 * snippets need, for any nginx; and the frame around them, nginx.conf, for one of our own. A
 * configuration may be for several sandboxes.
 */
#ifndef LAUNCHER_RENDER_RENDER_H
#define LAUNCHER_RENDER_RENDER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/settings.h"
#include "launcher/render/cors_origins.h"
#include "launcher/render/listen_address.h"
#include "launcher/render/prefix.h"
#include "launcher/secrets/secret.h"
#include "launcher/start/layout.h"
#include "launcher/start/worker_user.h"

#define ACCESS_LOG_VARIABLE "SANDBOX_ACCESS_LOG"

/* A sandbox as nginx is told of it. */
struct rendered_sandbox {
    const char *name; /* lower-case letters, digits and - */
    const char *run;  /* its run directory */
    unsigned proxy_port;
    const struct listen_addresses *proxy_listen;
    const struct secrets *secrets; /* none: the first token claims it (claim.h) */
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
    const struct cors_origins *cors; /* of requests that are for no sandbox: a preflight has none of
                                        the headers that may choose one */
    const struct listen_address *metrics; /* of the listener for Prometheus; size 0: none */
    bool may_have_tls; /* somebody else's nginx reads this, and its servers may speak TLS */
};

/* Is one secret taking the place of another, or none there yet? That takes nginx's njs module for
 * http. */
bool render_needs_http_js(const struct rendering *rendering);

/* snippets/, generated/, the njs modules: what the snippets need. 0, or -1 after one line to
 * standard error. */
int render_snippets(const struct rendering *rendering);

/* Of these what is about tokens; part of render_snippets(). 0 or -1 after one line. */
int render_secrets(const struct rendering *rendering);

/* The locations that ask who claims a sandbox of a pool; part of render_snippets(). 0 or -1 after
 * one line. */
int render_claim(const struct rendering *rendering);

/* The maps of the header Origin; part of render_snippets(). 0 or -1 after one line. */
int render_cors(const struct rendering *rendering);

/* nginx.conf and what it needs besides; load_module and who the workers are, unless `worker` is
 * NULL, since another nginx runs. `access_log` is SANDBOX_ACCESS_LOG, or NULL. 0, or -1 after one
 * line to standard error. */
int render_frame(const struct rendering *rendering, const struct listen_addresses *listen,
                 const struct worker_user *worker, const char *access_log);

#endif

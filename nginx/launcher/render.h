/*
 * What the run directory needs before the supervisor starts: nginx's configuration, made of the
 * files of nginx/ and of what the settings say, and the service directories.
 */
#ifndef LAUNCHER_RENDER_H
#define LAUNCHER_RENDER_H

#include <stdbool.h>

#include "common/settings.h"
#include "nginx/launcher/layout.h"
#include "nginx/launcher/run_dir.h"
#include "nginx/launcher/secret.h"
#include "nginx/launcher/worker_user.h"

struct rendering {
    const struct run_dir *run;
    const struct layout *layout;
    const struct settings *settings;
    const struct secret_digest *secret;
    const struct worker_user *worker;
    const char *metrics; /* the address of the listener for Prometheus; "": there is none */
    const char *cwd;     /* where commands start; NULL: in our working directory */
    bool with_nginx;     /* a service of ours, too */
    bool has_ipv6;
};

/* RUN/nginx/: the files of the tree with RUN in place of /run/nginx-sandbox, and generated/. 0, or
 * -1 after one line to standard error. */
int render_nginx(const struct rendering *rendering);

/* RUN/service/ and RUN/bin/: links into the installed tree, since a container's tmpfs may be
 * noexec; and RUN/cwd, the working directory of commands. 0, or -1 after one line to standard
 * error. */
int render_services(const struct rendering *rendering);

#endif

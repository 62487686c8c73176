/*
 * nginx's configuration, made of the files of nginx/ and of what the settings say: what the
 * snippets need, for any nginx; and the frame around them, nginx.conf, for one of our own.
 */
#pragma once

#include "launcher/render/rendering.h"
#include "launcher/start/worker_user.h"

#define ACCESS_LOG_VARIABLE "SANDBOX_ACCESS_LOG"

/* snippets/, generated/, the njs modules: what the snippets need. 0, or -1 after one line to
 * standard error. */
int render_snippets(const struct rendering *rendering);

/* nginx.conf; with load_module and the workers' user, unless `worker` is NULL, since another nginx
 * runs. `access_log` is SANDBOX_ACCESS_LOG, or NULL. 0, or -1 after one line to standard error. */
int render_frame(const struct rendering *rendering, const struct listen_addresses *listen,
                 const struct worker_user *worker, const char *access_log);

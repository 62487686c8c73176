/*
 * The directory of settings (/etc/nginx-sandbox) on a machine whose nginx serves several sandboxes:
 * their names, settings and secrets, and which requests are for which.
 *
 *     nginx-sandbox.conf   settings of all, in the form of systemd's EnvironmentFile
 *     NAME.conf            settings of one, which override these
 *     NAME.secret          its secrets, one a line
 *     map.conf             lines of an nginx map: which requests are for which sandbox
 *
 * A systemd credential NAME.secret (systemd.exec(5)) comes before the file of that name.
 */
#pragma once

#include <stdbool.h>

#include "launcher/render/rendering.h"

/* Whether a sandbox may have this name: [a-z0-9][a-z0-9-]{0,31}, and not that of a file with a
 * meaning of its own. */
bool installation_is_name(const char *name);

/* The same, with one line to standard error if not. */
bool installation_check_name(const char *name);

/*
 * Waits until no other process changes `etc`, of which `directory` is a descriptor. Returns a
 * descriptor (CLOEXEC) that holds the lock, or -1 after one line to standard error. The lock is a
 * file that only root can open: a user who can read the directory could lock that, and keep the
 * operator out.
 */
int installation_lock(int directory, const char *etc);

/*
 * Reads `etc` into *site, sandboxes in the order of their names. The run directories lie in
 * `state`, an absolute path. 0, or -1 after one line to standard error. Free with
 * installation_free() either way. Not thread-safe.
 */
int installation_read(struct site *site, const char *etc, const char *state);

void installation_free(struct site *site);

/*
 * SANDBOX_USER: the user that runs commands and file operations, and what must be true so that this
 * protects the server from them.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "common/user.h"
#include "launcher/start/layout.h"
#include "launcher/start/run_dir.h"
#include "launcher/start/worker_user.h"

/*
 * Finds the user that `setting` (settings.user) names. 1 with *user (clear it) and *can_enter_home,
 * whether it may enter its home; 0 when commands run as our own user; -1 after one line to standard
 * error: there is no such user, or we may not become it.
 */
int sandbox_user_open(const char *setting, struct user *user, bool *can_enter_home);

/*
 * Checks that the user cannot reach nginx's workers and what they reach, and cannot put anything in
 * the place of the run directory or of our programs. 0, or -1 after one line to standard error.
 */
int sandbox_user_check(const struct user *user, const struct worker_user *worker,
                       const struct run_dir *run, const struct layout *layout);

/*
 * Checks that the user cannot put anything in the place of the access log, an absolute path.
 * nginx's master opens it as root, and again on each order to do so: `resolved` is the path for it,
 * without links. 0, or -1 after one line to standard error.
 */
int sandbox_user_check_access_log(const struct user *user, const char *path,
                                  char resolved[PATH_MAX]);

/*
 * Checks that the user cannot move its commands out of the cgroup `path`, which has been made, by
 * rights to that or to one above it. `resolved` is its path without links. 0, or -1 after one line
 * to standard error.
 */
int sandbox_user_check_cgroup(const struct user *user, const char *path, char resolved[PATH_MAX]);

/*
 * The cgroup in which procd's runners will make theirs.
 */
#pragma once

#include "common/settings.h"
#include "common/user.h"
#include "launcher/start/run_dir.h"

#define CGROUP_VARIABLE "SANDBOX_CGROUP"

/*
 * Makes the cgroup of the run, which procd will find, and which `user` (or NULL) must not leave;
 * what the operator limits must be limited in there. A path in settings->cgroup becomes one without
 * links, in memory that stays. 0, or -1 after one line to standard error.
 */
int run_cgroup_make(struct settings *settings, const struct run_dir *run, const struct user *user);

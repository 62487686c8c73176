/*
 * The cgroup in which procd's runners will make theirs.
 */
#ifndef LAUNCHER_START_RUN_CGROUP_H
#define LAUNCHER_START_RUN_CGROUP_H

#include "common/settings.h"
#include "common/user.h"
#include "launcher/start/run_dir.h"

/*
 * Makes the cgroup of the run, which procd will find, and which `user` (or NULL) must not leave;
 * what the operator limits must be limited in there. 0, or -1 after one line to standard error.
 */
int run_cgroup_make(const struct settings *settings, const struct run_dir *run,
                    const struct user *user);

#endif

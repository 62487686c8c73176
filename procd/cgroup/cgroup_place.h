/*
 * The paths of cgroups: our own, and the one of a run (cgroup.h). Each: 0, or -1 with errno.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <limits.h>
#include <stddef.h>

/* Behind the name of a run's directory: that for its daemons. */
#define CGROUP_DAEMONS ".daemons"

/* The path of our own cgroup, of which the first *mount_length characters are the mount's. */
int cgroup_find_own(char path[PATH_MAX], size_t *mount_length);

/* The path of the directory of this run, which need not be there; `setting` is settings.cgroup, but
 * not "off". */
int cgroup_find_run(const char *run_directory, const char *setting, char path[PATH_MAX]);

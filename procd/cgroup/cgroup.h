/*
 * A cgroup (version 2) for each runner and its commands, where such a directory is writable: the
 * way to end the whole tree of a runner that has died (cgroups(7), and "cgroup.kill" in the
 * kernel's admin-guide/cgroup-v2).
 *
 *   BASE/nginx-sandbox-<st_dev>-<st_ino of the run directory>/   made by procd; holds no process
 *                                                     <pid>/     made by the runner with this pid
 *   BASE/nginx-sandbox-<st_dev>-<st_ino>.daemons/                made by the launcher, if at all
 *
 * BASE is the cgroup that the server was started in, or what SANDBOX_CGROUP names. A runner moves
 * into its directory when it is idle for the first time and is the first in there; what it starts
 * from then on is born there. So a directory in which there are processes, but not that of its
 * name, is a dead runner's. The kernel may give the pid in the name of a directory that was left to
 * another runner, which then takes the name <pid>-<n>.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * Finds the directory of this run, or makes it and tries whether processes can move into it.
 * `setting` is settings.cgroup. 1; 0 when no cgroups are wanted, or "auto" finds none that can be
 * used; -1 with errno when the directory that `setting` names cannot be used.
 */
int cgroup_open(const char *run_directory, const char *setting);

/*
 * Makes limits possible in the directory of this run (cgroup_limits.h), which is open: it gives its
 * cgroups all controllers that there are. A cgroup with processes of its own cannot give any ("no
 * internal processes" in cgroups(7)): if this process, or it and the first of its container, are
 * all that there is in BASE, they move to the directory for daemons, and cgroup_remove() moves them
 * back. Returns the limits that can be set, as a set of 1 << enum cgroup_limit; when that is not
 * CGROUP_ALL, errno is EBUSY if other processes in BASE are the reason, otherwise EOPNOTSUPP. For
 * the launcher, before it has children.
 */
unsigned cgroup_offer_limits(void);

/* The directory of this run, for its runners; NULL without cgroups. Valid as long as the process.
 */
const char *cgroup_path(void);

/* Moves this process, a runner, into a cgroup of its own in the directory of its run. A descriptor
 * of that, or -1 with errno. The kernel makes it wait some 10 ms for that, and longer where much is
 * forked. */
int cgroup_enter(const char *path);

/*
 * Removes the directory of a runner that has died. True: there was one, so nothing of the runner's
 * commands is left. False without cgroups, too.
 */
bool cgroup_remove_runner(pid_t pid);

/*
 * Looks at all runners: calls `alive` for each that lives, which returns false when it is about to
 * end; kills all processes of the others and removes their directories. Never waits. Returns
 * whether something is left to be looked at again.
 */
bool cgroup_sweep(bool (*alive)(pid_t runner));

/* Calls `each` for the processes of all runners' cgroups, as they were when each was read, until it
 * returns false; `setting` as above. Processes in cgroups that commands have made are left out. */
void cgroup_each_process(const char *run_directory, const char *setting,
                         bool (*each)(void *context, pid_t pid), void *context);

/* Kills all that is in the directory of this run and removes it; waits a second for that at most.
 * BASE is as it was then. 0, also when there is none; -1 with errno. */
int cgroup_remove(const char *run_directory, const char *setting);

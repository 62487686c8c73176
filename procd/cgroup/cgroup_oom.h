/*
 * Whether it was the kernel, for want of memory, that ended a command.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_CGROUP_CGROUP_OOM_H
#define PROCD_CGROUP_CGROUP_OOM_H

#include <stdint.h>

/*
 * How many processes the kernel has killed for want of memory ("oom_kill" in memory.events) in the
 * cgroup of this process, or in the nearest one above it whose memory is accounted: then others,
 * which share that, are counted, too. A runner that can limit memory has a count of its own. -1
 * when it is not known. The first call finds the file, every other is
 * one pread(2): a command whose shell was ended by SIGKILL while the number grew was ended so.
 */
int64_t cgroup_oom_kills(void);

/* To call when this process has moved to another cgroup: that one's are looked for. */
void cgroup_oom_forget(void);

#endif

/*
 * Whether the kernel ended a command because memory was out.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdint.h>

/*
 * How many processes the kernel has killed for want of memory ("oom_kill" in memory.events) in the
 * cgroup of this process, or in the nearest one above it whose memory is accounted; then the number
 * includes other processes that share it. A runner that can limit memory has a count of its own. -1
 * when it is unknown. The first call finds the file, every other is one pread(2). If the number
 * grew while a command ran, and its shell was ended by SIGKILL, the kernel ended it for want of
 * memory.
 */
int64_t cgroup_oom_kills(void);

/*
 * To call when this process has moved to another cgroup: the next call looks for that one's file.
 */
void cgroup_oom_forget(void);

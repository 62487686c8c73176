/*
 * The limits of a cgroup: the files that set them, and what is written to them. All directories are
 * borrowed descriptors of the cgroup file system, version 2 (the kernel's admin-guide/cgroup-v2).
 */
#pragma once

#include <stdint.h>

#include "procd/wire/limits.h"

/* Each limit has a controller of its own. All of them: */
#define CGROUP_ALL ((1U << CGROUP_LIMITS) - 1)

/* Writes a control file. 0, or -1 with errno. */
int cgroup_write(int directory, const char *name, const char *value);

/* The number on the line of a "flat keyed" control file (borrowed; -1: none) that begins with the
 * word `key`; -1 when there is none. One pread(2). */
int64_t cgroup_read_number(int fd, const char *key);

/*
 * The controllers that a file such as cgroup.controllers names, as a set of 1 << enum cgroup_limit.
 */
unsigned cgroup_read_controllers(int directory, const char *file);

/* Gives the cgroups in `directory` (and so their directories the files) these controllers ('+'), or
 * takes them away ('-'); as many as the kernel lets it. */
void cgroup_change_controllers(int directory, char sign, unsigned controllers);

/*
 * Limits what is in a cgroup; `value` 0 is no limit. One process more than `value` may be there,
 * and no swap where memory is limited. 0, or -1 with errno: EOPNOTSUPP where there is no such
 * controller.
 */
int cgroup_set_limit(int directory, enum cgroup_limit limit, uint64_t value);

/*
 * Bytes that a cgroup is charged for and that may outlive its processes, by its memory.stat
 * (borrowed; -1: none): shared memory and files in memory, and what the kernel holds for processes
 * and cannot reclaim, such as System V messages. Not the cache of files, which gives way. Not above
 * 0 when it is unknown. One pread(2).
 */
int64_t cgroup_lasting_memory(int memory_stat);

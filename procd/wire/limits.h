/*
 * The limits of a command: their names for clients and operators, and their tags in messages. What
 * the kernel takes for them is in procd/cgroup/cgroup_limits.h.
 *
 * Thread-safe.
 */
#pragma once

#include <stdint.h>

#include "procd/wire/protocol.h"

struct settings;

enum cgroup_limit {
    CGROUP_MEMORY, /* bytes */
    CGROUP_PIDS,   /* processes and threads */
    CGROUP_CPU,    /* percent of one CPU */
    CGROUP_LIMITS,
};

/* As a request names it: "memory_max"; and as the operator does: "SANDBOX_MEMORY_MAX". */
const char *cgroup_limit_name(enum cgroup_limit limit);
const char *cgroup_limit_variable(enum cgroup_limit limit);

/* Its tag in a message to procd or a runner. */
enum field_tag cgroup_limit_field(enum cgroup_limit limit);

/* The operator's value of it, 0 for none; and the most that is ever accepted. */
uint64_t cgroup_limit_setting(const struct settings *settings, enum cgroup_limit limit);
uint64_t cgroup_limit_most(enum cgroup_limit limit);

/*
 * The limits of a command: their names for clients and operators, and their tags in messages. What
 * the kernel takes for them is in procd/cgroup/cgroup_limits.h.
 *
 * Thread-safe.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "procd/wire/protocol.h"

struct settings;

enum cgroup_limit {
    CGROUP_MEMORY, /* bytes */
    CGROUP_PIDS,   /* processes and threads */
    CGROUP_CPU,    /* percent of one CPU */
    CGROUP_LIMITS,
};

extern const struct command_limit {
    const char *name;     /* as a request names it: "memory_max" */
    const char *variable; /* as the operator does: "SANDBOX_MEMORY_MAX" */
    enum field_tag field; /* in a message to procd or a runner */
    size_t setting;       /* where it is in struct settings */
    uint64_t most;        /* that is ever accepted */
} command_limits[CGROUP_LIMITS];

/* The operator's value of it, 0 for none. */
uint64_t command_limit_setting(const struct settings *settings, enum cgroup_limit limit);

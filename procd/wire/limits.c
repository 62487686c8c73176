#include "procd/wire/limits.h"

#include <stddef.h>
#include <string.h>

#include "common/settings.h"

static const struct {
    const char *name;
    const char *variable;
    enum field_tag field;
    size_t setting; /* where it is in struct settings */
    uint64_t most;
} limits[CGROUP_LIMITS] = {
    [CGROUP_MEMORY] = {"memory_max", "SANDBOX_MEMORY_MAX", FIELD_MEMORY_MAX,
                       offsetof(struct settings, memory_max), INT64_MAX},
    [CGROUP_PIDS] = {"pids_max", "SANDBOX_PIDS_MAX", FIELD_PIDS_MAX,
                     offsetof(struct settings, pids_max), PIDS_MAX_MOST},
    [CGROUP_CPU] = {"cpu_max", "SANDBOX_CPU_MAX", FIELD_CPU_MAX, offsetof(struct settings, cpu_max),
                    CPU_MAX_MOST},
};

const char *cgroup_limit_name(enum cgroup_limit limit)
{
    return limits[limit].name;
}

const char *cgroup_limit_variable(enum cgroup_limit limit)
{
    return limits[limit].variable;
}

enum field_tag cgroup_limit_field(enum cgroup_limit limit)
{
    return limits[limit].field;
}

uint64_t cgroup_limit_setting(const struct settings *settings, enum cgroup_limit limit)
{
    uint64_t value;
    memcpy(&value, (const char *)settings + limits[limit].setting, sizeof(value));
    return value;
}

uint64_t cgroup_limit_most(enum cgroup_limit limit)
{
    return limits[limit].most;
}

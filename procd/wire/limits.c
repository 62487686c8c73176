#include "procd/wire/limits.h"

#include <string.h>

#include "common/settings.h"

const struct command_limit command_limits[CGROUP_LIMITS] = {
    [CGROUP_MEMORY] = {"memory_max", "SANDBOX_MEMORY_MAX", FIELD_MEMORY_MAX,
                       offsetof(struct settings, memory_max), INT64_MAX},
    [CGROUP_PIDS] = {"pids_max", "SANDBOX_PIDS_MAX", FIELD_PIDS_MAX,
                     offsetof(struct settings, pids_max), PIDS_MAX_MOST},
    [CGROUP_CPU] = {"cpu_max", "SANDBOX_CPU_MAX", FIELD_CPU_MAX, offsetof(struct settings, cpu_max),
                    CPU_MAX_MOST},
};

uint64_t command_limit_setting(const struct settings *settings, enum cgroup_limit limit)
{
    uint64_t value;
    memcpy(&value, (const char *)settings + command_limits[limit].setting, sizeof(value));
    return value;
}

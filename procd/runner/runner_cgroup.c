/*
 * Limits are written only when a command wants others than the one before it. So a command without
 * limits costs nothing, and neither do limits that are the same for all.
 */
#include "procd/runner/runner_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

#include "common/logger.h"
#include "common/settings.h"
#include "procd/cgroup/cgroup.h"
#include "procd/cgroup/cgroup_limits.h"

/* What may stay charged: the runner's own memory, some 200 KiB, and memory that the kernel frees
 * only some time after the end of a process. */
#define LASTING_MOST (1 << 20)

static struct {
    const char *path;                 /* of the run's directory, or NULL */
    int directory;                    /* our own; -1 before we are in it */
    int memory_stat;                  /* in there; -1 where memory is not accounted, too */
    uint64_t standard[CGROUP_LIMITS]; /* 0 is none, here and below */
    uint64_t in_force[CGROUP_LIMITS];
} own = {.directory = -1, .memory_stat = -1};

void runner_cgroup_init(const char *path, const struct settings *settings)
{
    own.path = path;
    for (enum cgroup_limit i = 0; i < CGROUP_LIMITS; i++) {
        own.standard[i] = command_limit_setting(settings, i);
    }
}

/* 0, or -1 with errno: EOPNOTSUPP when there are none. */
static int runner_cgroup_enter(void)
{
    if (own.path == NULL) {
        errno = EOPNOTSUPP;
        return -1;
    }
    own.directory = cgroup_enter(own.path);
    if (own.directory < 0) {
        return -1;
    }
    own.memory_stat = openat(own.directory, "memory.stat", O_RDONLY | O_CLOEXEC);
    return 0;
}

/* A cgroup is entered only for a limit; without one there is none to lift. */
static int put_in_force(enum cgroup_limit limit, uint64_t value)
{
    if (value == own.in_force[limit]) {
        return 0;
    }
    if ((own.directory < 0 && runner_cgroup_enter() < 0) ||
        cgroup_set_limit(own.directory, limit, value) < 0) {
        return -1;
    }
    own.in_force[limit] = value;
    return 0;
}

bool runner_cgroup_enter_early(void)
{
    if (own.directory < 0 && runner_cgroup_enter() < 0) {
        log_at(LOG_WARNING, "runner: no cgroup in %s: %m", own.path);
        return false;
    }
    for (enum cgroup_limit i = 0; i < CGROUP_LIMITS; i++) {
        if (put_in_force(i, own.standard[i]) < 0) {
            log_at(LOG_WARNING, "runner: %s: %m", command_limits[i].variable);
        }
    }
    return true;
}

int runner_cgroup_limit(const struct incoming *command, struct spawn_error *error)
{
    for (enum cgroup_limit i = 0; i < CGROUP_LIMITS; i++) {
        int64_t asked = message_number(command, command_limits[i].field, 0);
        if (put_in_force(i, asked > 0 ? (uint64_t)asked : own.standard[i]) < 0) {
            *error =
                (struct spawn_error){.stage = (enum spawn_stage)(SPAWN_LIMIT + i), .error = errno};
            return -1;
        }
    }
    return 0;
}

bool runner_cgroup_is_clean(void)
{
    if (own.memory_stat < 0) { /* with a limit there is one, which then could not be opened */
        return own.in_force[CGROUP_MEMORY] == 0;
    }
    return cgroup_lasting_memory(own.memory_stat) <= LASTING_MOST;
}

#include "launcher/start/run_cgroup.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "common/logger.h"
#include "launcher/start/sandbox_user.h"
#include "procd/cgroup/cgroup.h"
#include "procd/cgroup/cgroup_limits.h"

/* Why no limit can be enforced, in words. */
static const char *why_no_limit(const struct settings *settings)
{
    if (strcmp(settings->cgroup, "off") == 0) {
        return "SANDBOX_CGROUP is off";
    }
    if (cgroup_path() == NULL) {
        return "no cgroup v2 directory can be written to (SANDBOX_CGROUP)";
    }
    return errno == EBUSY ? "other processes are in the cgroup of this one: name an empty one in "
                            "SANDBOX_CGROUP"
                          : "its controller is not available in the cgroup (SANDBOX_CGROUP)";
}

/* A limit that the operator sets must be enforceable. In a cgroup that the operator names others
 * may be used by requests. */
static int enable_limits(const struct settings *settings)
{
    bool wanted = settings->cgroup[0] == '/';
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        wanted |= command_limit_setting(settings, (enum cgroup_limit)i) != 0;
    }
    unsigned offered = wanted && cgroup_path() != NULL ? cgroup_offer_limits() : 0;
    const char *why = why_no_limit(settings);
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        enum cgroup_limit limit = (enum cgroup_limit)i;
        if (command_limit_setting(settings, limit) != 0 && (offered >> i & 1) == 0) {
            return log_failure("%s cannot be enforced: %s", command_limits[i].variable, why);
        }
    }
    return 0;
}

/* An earlier server with this run directory, if it was killed, may have left processes in the
 * cgroup. */
int run_cgroup_make(struct settings *settings, const struct run_dir *run, const struct user *user)
{
    static char base[PATH_MAX];                       /* the cgroup that the run's own is in */
    (void)cgroup_remove(run->path, settings->cgroup); /* what is left is found again */
    if (cgroup_open(run->path, settings->cgroup) < 0) {
        return log_failure(CGROUP_VARIABLE ": cannot use %s: %m", settings->cgroup);
    }
    if (user != NULL && cgroup_path() != NULL) {
        if (sandbox_user_check_cgroup(user, cgroup_path(), base) < 0) {
            return -1;
        }
        *strrchr(base, '/') = '\0';
        settings->cgroup = settings->cgroup[0] == '/' ? base : settings->cgroup;
    }
    return enable_limits(settings);
}

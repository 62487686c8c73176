#include "launcher/start/worker_user.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/capability.h"
#include "common/logger.h"
#include "common/user.h"
#include "launcher/base/program.h"
#include "launcher/base/stop_signal.h"

/* Root in a container may lack the capabilities that setuid(2), setgroups(2) and chown(2) need. */
static bool can_change_user(void)
{
    const uint32_t wanted = CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID) | CAPABILITY(CAP_CHOWN);
    uint32_t effective;
    return capability_read(&effective) == 0 && (effective & wanted) == wanted;
}

/* In a child: whether this is a user here at all. A user namespace may have one user, or forbid
 * setgroups(2) (user_namespaces(7)). */
static int worker_become(const void *argument)
{
    const struct passwd *user = argument;
    return initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 ||
           setuid(user->pw_uid) < 0;
}

/* Whether the user may enter this directory by its owner, main group or the rest. (Other groups are
 * not looked at.) */
static bool worker_may_enter(const struct worker_user *worker, const char *directory)
{
    struct stat status;
    if (stat(directory, &status) < 0) {
        return false;
    }
    mode_t bit = status.st_uid == worker->user    ? S_IXUSR
                 : status.st_gid == worker->group ? S_IXGRP
                                                  : S_IXOTH;
    return (status.st_mode & bit) != 0;
}

bool worker_user_may_reach(const struct worker_user *worker, const char *path, char at[PATH_MAX])
{
    (void)snprintf(at, PATH_MAX, "%s", path);
    for (char *slash; (slash = strrchr(at, '/')) != NULL && slash > at;) {
        *slash = '\0';
        if (worker->group != (gid_t)-1 && !worker_may_enter(worker, at)) {
            return false;
        }
    }
    return true;
}

void worker_user_choose(struct worker_user *worker, const char *run_path)
{
    char at[PATH_MAX];
    *worker = (struct worker_user){.user = geteuid(), .group = (gid_t)-1};
    if (geteuid() != 0) {
        return;
    }
    (void)snprintf(worker->directive, sizeof(worker->directive), "user root root;\n");
    if (!can_change_user()) {
        log_at(LOG_WARNING, "nginx's workers run as root: it may not change user here");
        return;
    }
    const struct passwd *user = user_worker_account();
    const struct group *group = user == NULL ? NULL : getgrgid(user->pw_gid);
    if (group == NULL) {
        log_at(LOG_WARNING,
               "nginx's workers run as root: there is no www-data, nginx or nobody with a group");
        return;
    }
    struct worker_user found = {.user = user->pw_uid, .group = group->gr_gid};
    if (!worker_user_may_reach(&found, run_path, at)) {
        log_at(LOG_WARNING, "nginx's workers run as root: %s may not enter %s", user->pw_name, at);
        return;
    }
    if (program_call(worker_become, user) != 0) {
        if (!stop_signal_waits()) { /* which ends the child, and then the start */
            log_at(LOG_WARNING, "nginx's workers run as root: it cannot become %s here",
                   user->pw_name);
        }
        return;
    }
    (void)snprintf(found.directive, sizeof(found.directive), "user %s %s;\n", user->pw_name,
                   group->gr_name);
    *worker = found;
}

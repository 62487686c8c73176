/*
 * Choosing nginx's worker user.
 */
#include "nginx/launcher/worker_user.h"

#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/logger.h"

/* Root in a container may have lost what setuid(2), setgroups(2) and chown(2) want. */
static bool can_change_user(void)
{
    const uint32_t wanted = 1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_CHOWN;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & wanted) == wanted;
}

/* May the user pass through this directory? (Other groups than the main one are not looked at.) */
static bool may_enter(const struct passwd *user, const char *directory)
{
    struct stat status;
    if (stat(directory, &status) < 0) {
        return false;
    }
    mode_t bit = S_IXOTH;
    if (status.st_uid == user->pw_uid) {
        bit = S_IXUSR;
    } else if (status.st_gid == user->pw_gid) {
        bit = S_IXGRP;
    }
    return (status.st_mode & bit) != 0;
}

/* May the user get to `path`, through everything above it? Otherwise `at` is where it ends. */
static bool may_reach(const struct passwd *user, const char *path, char at[PATH_MAX])
{
    snprintf(at, PATH_MAX, "%s", path);
    for (char *slash; (slash = strrchr(at, '/')) != NULL && slash > at;) {
        *slash = '\0';
        if (!may_enter(user, at)) {
            return false;
        }
    }
    return true;
}

/* The user without rights that this system has. */
static const struct passwd *find_user(void)
{
    static const char *const names[] = {"www-data", "nginx", "nobody"}; /* Debian, nginx.org, any */
    const struct passwd *user = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && user == NULL; i++) {
        user = getpwnam(names[i]);
    }
    return user;
}

void worker_user_choose(struct worker_user *worker, const char *run_path)
{
    char at[PATH_MAX];
    worker->directive[0] = '\0';
    worker->group = (gid_t)-1;
    if (geteuid() != 0) {
        return;
    }
    snprintf(worker->directive, sizeof(worker->directive), "user root root;\n");
    const struct passwd *user = can_change_user() ? find_user() : NULL;
    const struct group *group = user == NULL ? NULL : getgrgid(user->pw_gid);
    if (group == NULL) {
        return;
    }
    if (!may_reach(user, run_path, at)) {
        log_line("nginx's workers run as root: %s may not enter %s", user->pw_name, at);
        return;
    }
    worker->group = group->gr_gid;
    snprintf(worker->directive, sizeof(worker->directive), "user %s %s;\n", user->pw_name,
             group->gr_name);
}

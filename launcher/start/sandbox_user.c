/*
 * What is asked of the user. Whether we may become it is tried by a child.
 */
#include "launcher/start/sandbox_user.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/capability.h"
#include "common/cleanup.h"
#include "common/logger.h"
#include "launcher/base/program.h"
#include "launcher/start/path_check.h"

#define VARIABLE "SANDBOX_USER"

/* The exit status of a child that became the user and may not enter its home: no errno. */
#define CANNOT_ENTER_HOME 255

/* What the daemons need: to change user and give files away, to signal and clean up after another
 * user, to let go of capabilities. */
static int check_capabilities(void)
{
    static const struct {
        unsigned number;
        const char *name;
    } wanted[] = {{CAP_CHOWN, "CHOWN"},   {CAP_DAC_OVERRIDE, "DAC_OVERRIDE"},
                  {CAP_KILL, "KILL"},     {CAP_SETGID, "SETGID"},
                  {CAP_SETUID, "SETUID"}, {CAP_SETPCAP, "SETPCAP"}};
    uint32_t effective;
    if (capability_read(&effective) < 0) {
        return log_failure(VARIABLE ": capget: %m");
    }
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if ((effective & CAPABILITY(wanted[i].number)) == 0) {
            return log_failure(VARIABLE ": root lacks the capability CAP_%s here", wanted[i].name);
        }
    }
    return 0;
}

/* In a child. 0, CANNOT_ENTER_HOME, or an errno. */
static int sandbox_user_become(const void *argument)
{
    const struct user *user = argument;
    return user_become(user) < 0 ? errno : chdir(user->home) == 0 ? 0 : CANNOT_ENTER_HOME;
}

static int try_to_become(const struct user *user, bool *can_enter_home)
{
    int result = program_call(sandbox_user_become, user);
    *can_enter_home = result == 0;
    if (result < 0) {
        return log_failure(VARIABLE ": the child that tries it: %m");
    }
    if (result != 0 && result != CANNOT_ENTER_HOME) {
        return log_failure(VARIABLE ": this process may not become user %u: %s", user->uid,
                           strerror(result));
    }
    return 0;
}

int sandbox_user_open(const char *setting, struct user *user, bool *can_enter_home)
{
    char error[256];
    int found = user_find(setting, user, error, sizeof(error));
    *can_enter_home = false;
    if (found < 0) {
        log_line("%s", error);
    }
    if (found > 0 && (check_capabilities() < 0 || try_to_become(user, can_enter_home) < 0)) {
        user_clear(user);
        return -1;
    }
    return found;
}

/* The run scripts search their programs in PATH. */
static int check_search_path(const struct user *user)
{
    const char *path = getenv("PATH");
    cleanup_free char *copy = strdup(path == NULL ? "" : path);
    char *rest = copy;
    if (copy == NULL) {
        return log_failure(VARIABLE ": %m");
    }
    for (char *directory; (directory = strsep(&rest, ":")) != NULL;) {
        if (directory[0] != '/') {
            return log_failure(VARIABLE ": PATH has a directory that is not absolute");
        }
        if (path_check(user, directory, NULL) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Links to files without a name of their own, and a device. */
static bool is_device(const char *path)
{
    return strcmp(path, "/dev/stdout") == 0 || strcmp(path, "/dev/stderr") == 0 ||
           strcmp(path, "/dev/null") == 0;
}

int sandbox_user_check_access_log(const struct user *user, const char *path,
                                  char resolved[PATH_MAX])
{
    if (is_device(path)) {
        (void)snprintf(resolved, PATH_MAX, "%s", path);
        return path_check(user, "/dev", NULL);
    }
    return path_check_made_again(user, path, resolved);
}

/* Checks what root runs, loads or reads; "" is not used. */
static int check_names(const struct user *user, const struct run_dir *run,
                       const struct layout *layout)
{
    const char *const names[] = {run->path,
                                 layout->launcher,
                                 layout->s6_svscan,
                                 layout->stream_module,
                                 layout->stream_js_module,
                                 layout->http_js_module};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i][0] != '\0' && path_check(user, names[i], NULL) < 0) {
            return -1;
        }
    }
    for (int i = 0; i < DAEMON_COUNT; i++) {
        if (layout->daemons[i][0] != '\0' && path_check(user, layout->daemons[i], NULL) < 0) {
            return -1;
        }
    }
    return path_check_tree(user, layout->tree);
}

int sandbox_user_check(const struct user *user, const struct worker_user *worker,
                       const struct run_dir *run, const struct layout *layout)
{
    if (worker->group == (gid_t)-1) {
        return log_failure(VARIABLE
                           ": nginx's workers must have a user of their own: www-data, nginx or "
                           "nobody, who may enter %s",
                           run->path);
    }
    if (user->uid == worker->user || user_has_group(user, worker->group)) {
        return log_failure(
            VARIABLE ": user %u is nginx's workers' own or has their group %u: commands could "
                     "reach them and their sockets",
            user->uid, worker->group);
    }
    return check_names(user, run, layout) < 0 ? -1 : check_search_path(user);
}

static int check_cgroup_file(const struct user *user, const char *directory, const char *name)
{
    char path[PATH_MAX + 32];
    struct stat status;
    (void)snprintf(path, sizeof(path), "%s%s", directory, name);
    if (stat(path, &status) < 0 || !path_may_change(user, path, &status)) {
        return 0; /* above the mount there is no cgroup.procs */
    }
    return log_failure(
        VARIABLE ": user %u may change %s, and so leave the cgroups of commands: SANDBOX_CGROUP "
                 "must name another directory, or be off",
        user->uid, path);
}

/*
 * A user who may write to the cgroup.procs of two cgroups and to that of their nearest common
 * ancestor can move processes between them. A user who may change a directory can make a cgroup in
 * it (cgroups(7), "Delegation").
 */
int sandbox_user_check_cgroup(const struct user *user, const char *path, char resolved[PATH_MAX])
{
    char at[PATH_MAX];
    if (realpath(path, at) == NULL) {
        return log_failure(VARIABLE ": %s: %m", path);
    }
    (void)snprintf(resolved, PATH_MAX, "%s", at);
    for (char *slash; (slash = strrchr(at, '/')) != NULL; *slash = '\0') {
        if (check_cgroup_file(user, at, "") < 0 ||
            check_cgroup_file(user, at, "/cgroup.procs") < 0) {
            return -1;
        }
    }
    return 0;
}

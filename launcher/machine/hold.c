/*
 * nginx-sandbox hold NAME: lays out a run directory where systemd is the supervisor, and then
 * stays. It keeps the lock on the run directory, and the cgroup of its unit, which is delegated to
 * us: procd's runners make their cgroups in it, and so outlive procd's own unit. procd finds the
 * settings that it needs for that in RUN/environment.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/daemons.h"
#include "common/logger.h"
#include "common/notify.h"
#include "common/run_files.h"
#include "common/settings.h"
#include "common/user.h"
#include "launcher/base/file.h"
#include "launcher/base/subcommand.h"
#include "launcher/machine/commands.h"
#include "launcher/machine/installation.h"
#include "launcher/start/layout.h"
#include "launcher/start/run_cgroup.h"
#include "launcher/start/run_dir.h"
#include "launcher/start/sandbox_user.h"
#include "launcher/start/worker_user.h"
#include "procd/cgroup/cgroup.h"
#include "procd/cgroup/cgroup_place.h"

/* The setting becomes the path of our own cgroup, unless it is a path already. */
static int choose_cgroup(struct settings *settings)
{
    static char own[PATH_MAX];
    size_t mount_length;
    if (settings->cgroup[0] == '/') {
        return 0;
    }
    if (strcmp(settings->cgroup, "off") == 0) {
        return log_failure(CGROUP_VARIABLE
                           " must not be off under systemd: a command is known by its cgroup "
                           "alone there");
    }
    if (cgroup_find_own(own, &mount_length) < 0) {
        return log_failure(CGROUP_VARIABLE ": no cgroup v2 directory holds this process");
    }
    settings->cgroup = own;
    return 0;
}

/* Quoted as systemd.exec(5) reads it: names of slices have a backslash in them. */
static int write_environment(const struct run_dir *run, const char *cgroup)
{
    char text[PATH_MAX + 32];
    int length = snprintf(text, sizeof(text), CGROUP_VARIABLE "='%s'\n", cgroup);
    errno = ENAMETOOLONG; /* or what else it is */
    if (length >= (int)sizeof(text) ||
        file_write(run->fd, RUN_ENVIRONMENT, 0600, text, (size_t)length) < 0) {
        return log_failure("%s/" RUN_ENVIRONMENT ": %m", run->path);
    }
    return 0;
}

/* Makes the link to the directory where commands start, and the directories where the units leave
 * the pids of their daemons. */
static int hold_lay_out(const struct run_dir *run, const char *cwd)
{
    for (int i = 0; i < DAEMON_COUNT; i++) {
        char service[64];
        (void)snprintf(service, sizeof(service), "service/%s", server_daemons[i].name);
        if (server_daemons[i].is_ours && file_make_dir(run->fd, service, 0755) < 0) {
            return log_failure("%s/%s: %m", run->path, service);
        }
    }
    if (symlinkat(cwd, run->fd, "cwd") < 0) {
        return log_failure("%s/cwd: %m", run->path);
    }
    return 0;
}

static int hold_set_up(struct settings *settings, const struct run_dir *run,
                       const struct user *user, const char *cwd)
{
    static struct layout layout;
    struct worker_user worker;
    worker_user_choose(&worker, run->path);
    if (user != NULL &&
        (layout_find_daemons(&layout) < 0 || sandbox_user_check(user, &worker, run, &layout) < 0)) {
        return -1;
    }
    if (run_dir_admit(run, user, worker.group) < 0 || choose_cgroup(settings) < 0 ||
        run_cgroup_make(settings, run, user) < 0) {
        return -1;
    }
    if (cgroup_path() == NULL) {
        return log_failure(CGROUP_VARIABLE ": %s cannot be used", settings->cgroup);
    }
    return write_environment(run, settings->cgroup) < 0 || hold_lay_out(run, cwd) < 0 ? -1 : 0;
}

/* Everything before the daemons, with the settings in the environment. 0, or -1 after one line. */
static int hold_prepare(struct run_dir *run, const char *state, const char *name)
{
    char path[PATH_MAX + SANDBOX_NAME_MOST + 2]; /* run_dir_open() refuses a longer one */
    struct settings settings;
    cleanup_user struct user user = {0};
    bool can_enter_home;
    (void)snprintf(path, sizeof(path), "%s/%s", state, name);
    if (settings_take(&settings) < 0) {
        return -1;
    }
    int has_user = sandbox_user_open(settings.user, &user, &can_enter_home);
    (void)umask(077);
    if (has_user < 0 || run_dir_open(run, path) < 0) {
        return -1;
    }
    return hold_set_up(&settings, run, has_user > 0 ? &user : NULL,
                       can_enter_home ? user.home : "/");
}

int hold_main(int count, char **arguments)
{
    static struct run_dir run;
    struct subcommand_places places;
    notify_open();
    int first = subcommand_places(count, arguments, "s", &places);
    if (first == 0 || first != count - 1) {
        return SUBCOMMAND_MISUSED;
    }
    if (!installation_check_name(arguments[first]) ||
        hold_prepare(&run, places.state, arguments[first]) < 0) {
        return EXIT_FAILURE;
    }
    notify_ready();
    for (;;) {
        (void)pause(); /* a signal ends it */
    }
}

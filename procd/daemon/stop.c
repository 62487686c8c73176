/*
 * Everything below us ends. A service's supervisor is known by our session: every service and every
 * command has one of its own, so they are what is left when no child of our session is.
 */
#include "procd/daemon/stop.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/service_pid.h"
#include "common/settings.h"
#include "procd/cgroup/cgroup.h"
#include "procd/process/process_table.h"
#include "procd/process/reap.h"
#include "procd/process/tree_kill.h"

#define SERVICES_MS     3000
#define KILL_TIMEOUT_MS 1500
#define REAP_PAUSE_MS   100

static bool supervisors_are_left(void)
{
    cleanup_(pid_list_clear) struct pid_list children = {0};
    if (process_children(getpid(), &children) < 0) {
        return false;
    }
    pid_t session = getsid(0);
    for (size_t i = 0; i < children.count; i++) {
        if (getsid(children.pids[i]) == session) {
            return true;
        }
    }
    return false;
}

/* SIGINT to the whole process group ends the supervisors at once, and the services are told to end
 * but not awaited. */
static bool services_are_left(const char *run_directory)
{
    return supervisors_are_left() || service_pid(run_directory, "fcgi-app") != 0 ||
           service_pid(run_directory, "procd") != 0 || service_pid(run_directory, "nginx") != 0;
}

static void await_services(const char *run_directory, const sigset_t *child_signal)
{
    int64_t deadline = clock_monotonic_ms() + SERVICES_MS;
    const struct timespec pause = {.tv_nsec = REAP_PAUSE_MS * 1000000L};
    while (reap_children(NULL) && services_are_left(run_directory) &&
           clock_monotonic_ms() < deadline) {
        (void)sigtimedwait(child_signal, NULL, &pause); /* woken or not, it is looked at again */
    }
}

static int remove_run_directory(const char *run_directory)
{
    cleanup_fd int fd = open(run_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || directory_empty(fd) < 0 || rmdir(run_directory) < 0) {
        log_at(LOG_WARNING, "cannot remove %s: %m", run_directory);
        return -1;
    }
    return 0;
}

static bool has_file(const char *directory, const char *name)
{
    cleanup_fd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Before the walk: what forks faster than that can follow ends here, where there are cgroups. */
static int remove_cgroups(const char *run_directory)
{
    struct settings settings;
    if (settings_take(&settings) < 0) {
        return -1;
    }
    if (cgroup_remove(run_directory, settings.cgroup) < 0) {
        log_at(LOG_WARNING, "stop: cannot remove the cgroups: %m");
        return -1;
    }
    return 0;
}

int stop_main(const char *run_directory)
{
    sigset_t all;
    sigset_t child_signal;
    sigfillset(&all);
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    /* Nothing interrupts this: who asked to stop is being served. */
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || signal(SIGCHLD, SIG_DFL) == SIG_ERR ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        log_line("stop: %m");
        return 1;
    }
    await_services(run_directory, &child_signal);
    int result = remove_cgroups(run_directory) < 0;
    if (tree_kill(NULL, KILL_TIMEOUT_MS) < 0) {
        log_line("some processes could not be killed");
        result = 1;
    }
    if (has_file(run_directory, "failed")) {
        result = 1;
    }
    if (has_file(run_directory, "remove-on-exit") && remove_run_directory(run_directory) < 0) {
        result = 1;
    }
    return result;
}

/*
 * Ends everything below this process. A service's supervisor has the session of this process, while
 * every service and every command has a session of its own.
 */
#include "procd/daemon/stop.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/daemons.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/service_pid.h"
#include "common/settings.h"
#include "common/stop_deadline.h"
#include "procd/cgroup/cgroup.h"
#include "procd/process/process_table.h"
#include "procd/process/reap.h"
#include "procd/process/runners.h"
#include "procd/process/tree_kill.h"

/* With the second that cgroup_remove() may take, less than the 5 s that a stop may take beyond the
 * grace. */
#define SERVICES_MS     2500
#define KILL_TIMEOUT_MS 1000
#define REAP_PAUSE_MS   20

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

/* SIGINT to the whole process group ends the supervisors at once; they ask the services to end and
 * do not wait for them. */
static bool services_are_left(const char *run_directory)
{
    /* First the supervisors: one may start its service until it ends. */
    if (supervisors_are_left()) {
        return true;
    }
    for (size_t i = 0; i < DAEMON_COUNT; i++) {
        if (server_daemons[i].serves && service_pid(run_directory, server_daemons[i].name) != 0) {
            return true;
        }
    }
    return false;
}

/*
 * Services and commands end at the same time, each within its own limit. If another process has
 * begun the stop, commands have had their signal. procd has gone, so a runner ends with its
 * command: those that live have one.
 */
static void await_end(const char *run_directory, const struct settings *settings,
                      const sigset_t *child_signal)
{
    const struct timespec pause = {.tv_nsec = REAP_PAUSE_MS * 1000000L};
    int64_t begun = stop_deadline_read(run_directory);
    int64_t grace = (int64_t)settings->stop_grace_ms;
    int64_t now = clock_monotonic_ms();
    int64_t services_until = now + SERVICES_MS;
    int64_t kill_at = begun != 0 ? begun : now + grace; /* commands */
    cleanup_(runners_clear) struct runners runners = {.run_directory = run_directory,
                                                      .order = begun == 0 && grace > 0};
    for (int empty_looks = 0; empty_looks < RUNNERS_EMPTY_LOOKS;) {
        runners.living = 0;
        runners_meet_below(&runners, getpid());
        cgroup_each_process(run_directory, settings->cgroup, runners_meet, &runners);
        bool services = reap_children(NULL) && services_are_left(run_directory);
        now = clock_monotonic_ms();
        bool over = (runners.living == 0 || now >= kill_at) && (!services || now >= services_until);
        empty_looks = over ? empty_looks + 1 : 0;
        if (empty_looks < RUNNERS_EMPTY_LOOKS) {
            (void)sigtimedwait(child_signal, NULL, &pause);
        }
    }
}

int stop_main(const char *run_directory)
{
    sigset_t all;
    sigset_t child_signal;
    sigfillset(&all);
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    /* Nothing interrupts this: a signal to stop would ask for what is being done. */
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || signal(SIGCHLD, SIG_DFL) == SIG_ERR ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        log_line("stop: %m");
        return 1;
    }
    struct settings settings;
    int result = settings_take(&settings) < 0;
    if (result == 0) {
        await_end(run_directory, &settings, &child_signal);
        /* Before the walk, which cannot follow what forks faster. */
        if (cgroup_remove(run_directory, settings.cgroup) < 0) {
            log_at(LOG_WARNING, "stop: cannot remove the cgroups: %m");
            result = 1;
        }
    }
    if (tree_kill(NULL, KILL_TIMEOUT_MS) < 0) {
        log_line("some processes could not be killed");
        result = 1;
    }
    cleanup_fd int run = open(run_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory_has(run, "failed")) {
        result = 1;
    }
    if (directory_has(run, "remove-on-exit") &&
        (directory_empty(run) < 0 || rmdir(run_directory) < 0)) {
        log_at(LOG_WARNING, "cannot remove %s: %m", run_directory);
        result = 1;
    }
    return result;
}

/*
 * procd: the process daemon. `procd -r RUN` serves the listening socket on descriptor 0; `--stop`
 * ends the whole server; `--runner` is what procd executes for its pool.
 */
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/io.h"
#include "common/log_drops.h"
#include "common/logger.h"
#include "common/notify.h"
#include "common/resource_limit.h"
#include "common/run_files.h"
#include "common/settings.h"
#include "common/start_directory.h"
#include "common/user.h"
#include "procd/cgroup/cgroup.h"
#include "procd/daemon/loop.h"
#include "procd/daemon/pool.h"
#include "procd/daemon/registry.h"
#include "procd/daemon/requests.h"
#include "procd/daemon/server.h"
#include "procd/daemon/stop.h"
#include "procd/daemon/sweep.h"
#include "procd/runner/confinement.h"
#include "procd/runner/environment.h"
#include "procd/runner/runner.h"
#include "procd/wire/job_changes.h"

#define EXIT_USAGE 100 /* as s6's programs */

enum mode { MODE_DAEMON, MODE_STOP, MODE_RUNNER };

struct options {
    enum mode mode;
    const char *run_directory;
    struct runner_options runner;
};

static bool parse_options(int count, char **arguments, struct options *options)
{
    static const struct option known[] = {
        {"run-directory", required_argument, NULL, 'r'},
        {"stop", no_argument, NULL, 's'},
        {"runner", required_argument, NULL, 'R'},
        {"descriptors", required_argument, NULL, 'd'},
        {"cgroup", required_argument, NULL, 'c'},
        {"cgroup-first", no_argument, NULL, 'f'},
        {"user", required_argument, NULL, 'u'},
        {"limits", required_argument, NULL, 'l'},
        {"directory", required_argument, NULL, 'D'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.mode = MODE_DAEMON, .runner.descriptor_limit = -1};
    const char *descriptors = NULL;
    const char **const texts[] = {
        ['r'] = &options->run_directory,
        ['R'] = &options->run_directory,
        ['d'] = &descriptors,
        ['c'] = &options->runner.cgroup,
        ['u'] = &options->runner.user,
        ['l'] = &options->runner.limits,
        ['D'] = &options->runner.directory,
    };
    int option;
    while ((option = getopt_long(count, arguments, "r:", known, NULL)) != -1) {
        if (option == '?') {
            return false;
        }
        if (optarg != NULL) {
            *texts[option] = optarg;
        }
        options->mode = option == 's' ? MODE_STOP : option == 'R' ? MODE_RUNNER : options->mode;
        options->runner.cgroup_first = options->runner.cgroup_first || option == 'f';
    }
    if (descriptors != NULL) {
        options->runner.descriptor_limit = strtol(descriptors, NULL, 10);
    }
    return optind == count && options->run_directory != NULL;
}

/* The descriptors of many clients pass through procd. Returns the soft limit as it was, for
 * commands; or -1. */
static long raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return -1;
    }
    long before = limit.rlim_cur > (rlim_t)LONG_MAX ? -1 : (long)limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        log_at(LOG_WARNING, "cannot raise the limit of open files: %m");
    }
    return before;
}

static void hear_signal(struct watch *watch)
{
    struct signalfd_siginfo signal;
    if (io_read_some(watch->fd, &signal, sizeof(signal)) != (ssize_t)sizeof(signal)) {
        return;
    }
    if (signal.ssi_signo == SIGCHLD) {
        pool_note_failures(sweep_reap());
    } else {
        loop_stop();
    }
}

/* SIGTERM and SIGINT end the daemon and not its jobs; SIGCHLD comes of runners and of what dead
 * ones have left. */
static int watch_signals(void)
{
    static struct watch watch = {.ready = hear_signal};
    sigset_t heard;
    sigemptyset(&heard);
    sigaddset(&heard, SIGTERM);
    sigaddset(&heard, SIGINT);
    sigaddset(&heard, SIGCHLD);
    /* procd may have been started with SIGCHLD ignored; then there would be nothing to reap. */
    if (sigprocmask(SIG_SETMASK, &heard, NULL) < 0 || signal(SIGCHLD, SIG_DFL) == SIG_ERR ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return -1;
    }
    watch.fd = signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK);
    return watch.fd < 0 ? -1 : loop_add(&watch);
}

/* Finds the user of commands: 0 with *numbers (NULL: our own), or -1 after one line in the log. */
static int find_command_user(const struct settings *settings, char **numbers)
{
    cleanup_user struct user user;
    char error[256];
    int found = user_find(settings->user, &user, error, sizeof(error));
    *numbers = NULL;
    if (found < 0) {
        log_line("%s", error);
        return -1;
    }
    if (found == 0) {
        return 0;
    }
    *numbers = user_format(&user);
    if (*numbers == NULL || environment_adopt(&user) < 0) {
        log_line("SANDBOX_USER: %m");
        return -1;
    }
    return 0;
}

static void count_log_drops(const char *run_directory)
{
    if (log_drops_open(run_directory) < 0) {
        log_at(LOG_WARNING, "%s/" RUN_LOG_DROPS ": %m", run_directory);
    }
}

/* Opens the parts of the daemon, each above those before it. 0, or the exit status after one line
 * in the log. */
static int open_parts(const struct settings *settings, const struct pool_options *commands,
                      int listener)
{
    const char *run_directory = commands->run_directory;
    if (listener < 0 || loop_open() < 0 || watch_signals() < 0 || sweep_open(run_directory) < 0) {
        log_line("cannot start: %m");
        return 1;
    }
    if (cgroup_open(run_directory, settings->cgroup) < 0) {
        log_line("SANDBOX_CGROUP: cannot use %s: %m", settings->cgroup);
        return EXIT_USAGE;
    }
    if (job_changes_open(run_directory) < 0) {
        log_line("%s/" RUN_JOB_CHANGES ": %m", run_directory);
        return 1;
    }
    if (registry_open(run_directory, settings->keep_finished, settings->keep_finished_ms) < 0) {
        log_line("cannot use the state in %s: %m", run_directory);
        return 1;
    }
    if (!confinement_can_rank()) {
        log_at(LOG_WARNING, "/proc is read-only: when memory is out the kernel may end a daemon "
                            "before a command");
    }
    requests_init(run_directory, settings->max_jobs, settings->max_terminals);
    if (pool_open(commands) < 0) {
        log_line("cannot start a runner: %m");
        return 1;
    }
    if (server_open(listener, requests_handle) < 0) {
        log_line("descriptor 0 must be a listening socket: %m");
        return 1;
    }
    return 0;
}

/* Until a signal comes. The end of the process hangs up on clients and runners, and jobs go on, as
 * when it is killed. */
static int serve(void)
{
    notify_ready();
    log_at(LOG_INFO, "serving with %zu running jobs", registry_running());
    if (loop_run() < 0) {
        log_line("epoll_wait: %m");
        return 1;
    }
    return 0;
}

static int daemon_main(const char *run_directory)
{
    struct settings settings;
    cleanup_free char *user = NULL;
    closefrom(STDERR_FILENO + 1);
    /* The launcher has removed them already, but no command may ever see them. */
    (void)unsetenv("SANDBOX_SECRET");
    (void)unsetenv("SANDBOX_SECRET_FILE");
    notify_open();
    count_log_drops(run_directory);
    if (settings_take(&settings) < 0 || find_command_user(&settings, &user) < 0) {
        return EXIT_USAGE;
    }
    cleanup_free char *directory = start_directory_name(run_directory);
    /* Commands start in the directory of this name, not in the one that has it now. */
    if (directory == NULL || chdir("/") < 0) {
        log_line("cannot find the working directory: %m");
        return 1;
    }
    int listener = descriptor_take_stdin();
    long descriptor_limit = raise_descriptor_limit();
    struct resource_limit inherited[RESOURCE_LIMITS];
    char limits[RESOURCE_LIMITS_SIZE];
    resource_limits_lift(inherited);
    const struct pool_options commands = {.run_directory = run_directory,
                                          .directory = directory,
                                          .descriptor_limit = descriptor_limit,
                                          .limits = resource_limits_format(inherited, limits),
                                          .user = user};
    int result = open_parts(&settings, &commands, listener);
    return result != 0 ? result : serve();
}

int main(int argc, char **argv)
{
    struct options options;
    logger_open("procd");
    if (!parse_options(argc, argv, &options)) {
        (void)fputs("usage: procd -r RUN [--stop]\n", stderr);
        return EXIT_USAGE;
    }
    switch (options.mode) {
    case MODE_RUNNER: count_log_drops(options.run_directory); return runner_main(&options.runner);
    case MODE_STOP:
        /* No client is to wait for nginx any more. The lock of the run directory stays. */
        closefrom(RUN_FD_NGINX);
        return stop_main(options.run_directory);
    case MODE_DAEMON: break;
    }
    return daemon_main(options.run_directory);
}

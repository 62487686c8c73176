/*
 * One loop over signals. A stop has three steps:
 *
 *     1. nginx stops listening, procd begins no more commands, and all commands get SIGTERM.
 * fcgi-app serves on, so that clients see how their commands end.
 *     2. When the last command has ended, or SANDBOX_STOP_GRACE is over, s6-svscan ends the
 * services: fcgi-app ends the streams that are left with an error. Then, as `procd --stop`, it
 * kills all processes below it.
 *     3. What is left here is killed, and this process ends with the status of the command beside
 * the server, or of s6-svscan.
 *
 * All signals are blocked from the first line of the launcher on, and none is ignored: one that
 * comes before this loop is read here. If s6-svscan is killed this process does the rest of its
 * work; if this process is killed, s6-svscan gets SIGTERM and does it alone.
 */
#include "launcher/supervise/supervise.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/io.h"
#include "common/log_drops.h"
#include "common/log_output.h"
#include "common/logger.h"
#include "common/settings.h"
#include "common/stop_deadline.h"
#include "common/user.h"
#include "launcher/base/file.h"
#include "launcher/base/subcommand.h"
#include "launcher/render/listen_address.h"
#include "launcher/start/listener.h"
#include "launcher/start/ready.h"
#include "launcher/supervise/image_command.h"
#include "procd/process/process_table.h"
#include "procd/process/runners.h"
#include "procd/process/supervisor.h"
#include "procd/process/tree_kill.h"

#define ROUND_MS        20   /* between two looks at what is to end */
#define SERVICES_MS     4500 /* for step 2; s6-svscan needs less */
#define KILL_TIMEOUT_MS 500

#define CODE_OF_KILLED (128 + SIGKILL)

enum stage { RUNNING, ENDING_COMMANDS, ENDING_SERVICES };

static struct {
    const char *run_directory;
    bool with_nginx;
    struct settings settings;
    struct user user;
    bool has_user;
    int signals;  /* a signalfd for all */
    pid_t svscan; /* 0: it has ended */
    pid_t ready;  /* the child of ready_announce(); 0: it has ended */
    int code;     /* of svscan */
    bool lost;    /* svscan was killed */
    struct image_command command;
    bool leavings_told; /* what the command has left running has got SIGTERM */
    enum stage stage;
    int64_t kill_at;  /* the grace is over, monotonic ms */
    int64_t deadline; /* of the services */
    struct runners runners;
    int empty_looks; /* in a row */
} server;

/* ---- the services ---- */

static _Noreturn void become_svscan(pid_t parent)
{
    char path[PATH_MAX + 32];
    char services[PATH_MAX + 32];
    char text[16];
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM); /* until it reads it from a signalfd, which takes a while */
    (void)snprintf(path, sizeof(path), "%s/" SUPERVISOR_FILE, server.run_directory);
    int length = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    /* No service waits for the reader of its log. The command beside the server may. */
    log_output_detach(STDOUT_FILENO);
    log_output_detach(STDERR_FILENO);
    if (file_write(AT_FDCWD, path, 0600, text, (size_t)length) < 0) {
        log_line("%s: %m", path);
        _exit(1);
    }
    (void)snprintf(path, sizeof(path), "%s/bin/s6-svscan", server.run_directory);
    (void)snprintf(services, sizeof(services), "%s/service", server.run_directory);
    /* In a session of its own no signal of a terminal ends a service before its turn. */
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || setsid() < 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 ||
        getppid() != parent || sigprocmask(SIG_SETMASK, &stop, NULL) < 0 ||
        execl(path, "s6-svscan", services, (char *)NULL) < 0) {
        log_line("%s: %m", path);
    }
    _exit(1);
}

static int start_svscan(void)
{
    pid_t parent = getpid();
    server.svscan = fork();
    if (server.svscan == 0) {
        become_svscan(parent);
    }
    if (server.svscan < 0) {
        return log_failure("fork: %m");
    }
    /* This process must not hold the services' listening sockets, whose clients would wait, nor the
     * lock, for which the next server would wait. */
    closefrom(STDERR_FILENO + 1);
    return 0;
}

/* As s6-svc(1), but without a fork, which may be impossible when it is most needed. A service that
 * is not there needs no order. */
static void order_service(const char *name, const char *order)
{
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof(path), "%s/service/%s/supervise/control", server.run_directory,
                   name);
    cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        (void)io_write_all(fd, order, strlen(order));
    }
}

/* ---- what is below us ---- */

static bool is_svscan(pid_t pid)
{
    return pid == server.svscan;
}

static bool is_not_left(pid_t pid)
{
    return pid == server.svscan || pid == server.ready || pid == server.command.pid;
}

/* Whether a process lives that the command beside the server has left. (As process 1 of a container
 * we are the parent of other orphans, too, which end with it.) */
static bool has_leavings(void)
{
    cleanup_(pid_list_clear) struct pid_list children = {0};
    (void)process_children(getpid(), &children);
    for (size_t i = 0; i < children.count; i++) {
        if (!is_not_left(children.pids[i])) {
            return true;
        }
    }
    return false;
}

/* Whether a look finds a process that got SIGTERM and has not ended yet. */
static bool finds_commands(void)
{
    server.runners.living = 0;
    runners_meet_below(&server.runners, server.svscan > 0 ? server.svscan : getpid());
    if (server.command.pid != 0) {
        return true;
    }
    if (server.lost) { /* the services are our children now */
        return server.runners.living > 0;
    }
    if (!server.leavings_told) {
        server.leavings_told = true;
        tree_signal(SIGTERM, is_not_left);
    }
    return server.runners.living > 0 || has_leavings();
}

static bool commands_are_left(void)
{
    server.empty_looks = finds_commands() ? 0 : server.empty_looks + 1;
    return server.empty_looks < RUNNERS_EMPTY_LOOKS;
}

/* ---- the stop ---- */

static void end_services(void)
{
    server.stage = ENDING_SERVICES;
    server.deadline = clock_monotonic_ms() + SERVICES_MS;
    if (server.svscan != 0) {
        (void)kill(server.svscan, SIGTERM);
    }
}

/* Begins a stop; `number` is what the command beside the server gets, if it still runs. */
static void begin_stop(int number)
{
    int64_t grace = (int64_t)server.settings.stop_grace_ms;
    if (server.stage != RUNNING) {
        return;
    }
    server.stage = ENDING_COMMANDS;
    server.kill_at = clock_monotonic_ms() + grace;
    /* Without the link procd --stop begins a grace of its own, which SERVICES_MS bounds. */
    (void)stop_deadline_write(server.run_directory, server.kill_at);
    if (grace == 0) {
        end_services();
        return;
    }
    order_service("nginx", "Oq");
    order_service("procd", "Ot");
    if (server.command.pid != 0) {
        (void)kill(server.command.pid, number);
    }
}

/* Does one round of the stage. Returns whether all is over. */
static bool go_on_stopping(void)
{
    int64_t now = clock_monotonic_ms();
    if (server.stage == ENDING_COMMANDS && (!commands_are_left() || now >= server.kill_at)) {
        end_services();
    }
    if (server.stage != ENDING_SERVICES) {
        return false;
    }
    if (server.svscan == 0 || now >= server.deadline) {
        return true;
    }
    (void)tree_kill_round(getpid(), -1, is_svscan); /* the command and what it has left */
    return false;
}

/* ---- signals ---- */

static void start_command(void)
{
    if (server.command.arguments != NULL && server.stage == RUNNING &&
        image_command_start(&server.command, &server.settings,
                            server.has_user ? &server.user : NULL) < 0) {
        server.command.code = 1;
        begin_stop(SIGTERM);
    }
}

static void svscan_ended(int status)
{
    server.svscan = 0;
    server.lost = !WIFEXITED(status);
    server.code = server.lost ? 0 : WEXITSTATUS(status);
    /* Our own SIGTERM kills it if it does not handle signals yet. */
    if (server.lost && server.stage != ENDING_SERVICES) {
        server.code = 1;
        log_line("s6-svscan was killed: the server ends");
    }
    begin_stop(SIGTERM);
}

static void supervise_reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        if (pid == server.command.pid) {
            image_command_changed(&server.command, status);
            if (server.command.pid == 0) {
                begin_stop(SIGTERM);
            }
        } else if (WIFSTOPPED(status)) {
            continue;
        } else if (pid == server.svscan) {
            svscan_ended(status);
        } else if (pid == server.ready) {
            server.ready = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                start_command();
            }
        }
    }
}

static void hear(int number)
{
    bool repeated = server.stage != RUNNING;
    switch (number) {
    case SIGCHLD: supervise_reap(); return;
    case SIGHUP: /* the terminal is gone: the command decides, as in a shell */
        if (server.command.pid != 0) {
            (void)kill(server.command.pid, SIGHUP);
        }
        return;
    case SIGTERM:
    case SIGINT: break;
    case SIGQUIT: number = SIGTERM; break;
    case SIGTSTP: /* Ctrl-Z; the services go on */ (void)kill(getpid(), SIGSTOP); return;
    default: return;
    }
    begin_stop(number);
    if (repeated && server.command.pid != 0) {
        (void)kill(server.command.pid, number);
    }
}

static void wait_for_signals(void)
{
    struct pollfd polled = {.fd = server.signals, .events = POLLIN};
    struct signalfd_siginfo signal;
    if (io_poll(&polled, 1, server.stage == RUNNING ? -1 : ROUND_MS) <= 0) {
        return;
    }
    while (io_read_some(server.signals, &signal, sizeof(signal)) == (ssize_t)sizeof(signal)) {
        hear((int)signal.ssi_signo);
    }
}

/* ---- the end ---- */

/* Unix sockets stay if nginx was not stopped, or had not begun. Whether none is left. */
static bool remove_unix_sockets(void)
{
    static const char *const variables[] = {LISTEN_VARIABLE, PROXY_LISTEN_VARIABLE};
    bool is_clean = true;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        struct listen_addresses addresses;
        if (listen_addresses_read(&addresses, NULL, variables[i], 0, false) == 0) {
            is_clean = listeners_remove_left(&addresses) && is_clean;
        }
    }
    return is_clean;
}

/* Becomes what s6-svscan becomes at its end, in its place, since its orphans have come to us. */
static _Noreturn void do_the_work_of_svscan(void)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/bin/procd", server.run_directory);
    cleanup_(pid_list_clear) struct pid_list children = {0};
    (void)process_children(getpid(), &children);
    for (size_t i = 0; i < children.count; i++) {
        (void)kill(children.pids[i], SIGTERM); /* s6-supervise ends its service */
    }
    int64_t deadline = clock_monotonic_ms() + KILL_TIMEOUT_MS;
    while (server.with_nginx && !remove_unix_sockets() && clock_monotonic_ms() < deadline) {
        (void)poll(NULL, 0, ROUND_MS); /* nginx, or what was to become nginx, still has them */
    }
    char failed[PATH_MAX + 32];
    (void)snprintf(failed, sizeof(failed), "%s/failed", server.run_directory);
    if (server.code != 0) {
        (void)file_write(AT_FDCWD, failed, 0600, "", 0); /* makes the exit status */
    }
    execl(path, "procd", "--stop", "-r", server.run_directory, (char *)NULL);
    log_line("%s: %m", path);
    _exit(1);
}

static int supervise_finish(void)
{
    if (server.lost) {
        do_the_work_of_svscan();
    }
    if (server.command.pid != 0) {
        server.command.code = CODE_OF_KILLED;
    }
    if (tree_kill(NULL, KILL_TIMEOUT_MS) < 0) {
        log_line("some processes could not be killed");
        server.code = 1;
    }
    if (server.with_nginx) {
        (void)remove_unix_sockets();
    }
    return server.command.code >= 0 ? server.command.code : server.code;
}

/* ---- the beginning ---- */

void supervise_become(const char *program, const char *run_directory, bool with_nginx,
                      char *const *arguments)
{
    const char *const first[] = {"nginx-sandbox", "supervise", with_nginx ? "-r" : "-nr",
                                 run_directory, "--"};
    size_t count = 0;
    while (arguments[count] != NULL) {
        count++;
    }
    const char **all = calloc(sizeof(first) / sizeof(first[0]) + count + 1, sizeof(*all));
    if (all == NULL) {
        return;
    }
    memcpy(mempcpy(all, first, sizeof(first)), arguments, count * sizeof(*all));
    /* A new program has no trace of a secret in its environment. */
    execv(program, (char *const *)(uintptr_t)all);
    free(all);
}

/* 0, or -1 for a wrong command line. */
static int supervise_read_options(int count, char **arguments)
{
    server.with_nginx = true;
    for (int option; (option = getopt(count, arguments, "+r:n")) != -1;) {
        switch (option) {
        case 'r': server.run_directory = optarg; break;
        case 'n': server.with_nginx = false; break;
        default: return -1;
        }
    }
    server.command = (struct image_command){
        .arguments = optind < count ? arguments + optind : NULL, .terminal = -1, .code = -1};
    return server.run_directory == NULL ? -1 : 0;
}

static int supervise_prepare(void)
{
    char error[256];
    sigset_t all;
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return log_failure("%m");
    }
    int found = user_find(server.settings.user, &server.user, error, sizeof(error));
    if (found < 0) {
        return log_failure("%s", error);
    }
    server.has_user = found > 0;
    server.runners = (struct runners){.run_directory = server.run_directory, .order = true};
    if (start_svscan() < 0) {
        return -1;
    }
    (void)log_drops_open(server.run_directory); /* without it the log itself says how many */
    server.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server.signals < 0) {
        return log_failure("signalfd: %m");
    }
    return 0;
}

int supervise_main(int count, char **arguments)
{
    if (supervise_read_options(count, arguments) < 0) {
        return SUBCOMMAND_MISUSED;
    }
    if (settings_take(&server.settings) < 0 || supervise_prepare() < 0) {
        return 1; /* what has been started ends with us */
    }
    if (!server.with_nginx) {
        (void)printf("nginx-sandbox: ready for nginx: include "
                     "%s/nginx/snippets/{http,server,ports,stream}.conf\n",
                     server.run_directory);
        (void)fflush(stdout);
        start_command();
    } else {
        server.ready = ready_announce(&server.settings, server.run_directory);
        if (server.ready < 0) {
            server.code = 1;
            begin_stop(SIGTERM);
        }
    }
    while (!go_on_stopping()) {
        wait_for_signals();
    }
    return supervise_finish();
}

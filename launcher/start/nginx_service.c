/*
 * One loop over signals; between two of them nginx runs, or is about to be started.
 */
#include "launcher/start/nginx_service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log_drops.h"
#include "common/logger.h"
#include "common/resource_limit.h"
#include "common/run_files.h"
#include "launcher/base/subcommand.h"
#include "launcher/start/listener.h"
#include "launcher/start/nginx_log.h"
#include "launcher/start/port_counts.h"
#include "procd/process/process_table.h"

/* From one start to the next, if nginx dies at once. After a longer life it starts without delay.
 */
#define START_INTERVAL_MS 1000
/* How long its workers may take to close the sockets, before these are shut down all the same. */
#define CLOSE_PATIENCE_MS 500
#define CLOSE_PAUSE_MS    2
/* Without listening workers nginx is deaf. After so many looks it gets SIGHUP, so that it starts
 * some. */
#define LOOK_INTERVAL_MS 1000
#define DEAF_LOOKS       2

struct service {
    const char *run;
    int sockets_end; /* they have the numbers from RUN_FD_NGINX on up to this one */
    struct nginx_log log;
    pid_t master; /* the leader of nginx's session; 0: it does not run */
    int64_t started_ms;
    pid_t supervisor;
    int deaf_looks;
    bool is_failing; /* the last start failed, and a line says so */
    bool is_stopping;
};

/* Counts the numbers in the variable NGINX, which follow one another (run_files.h). */
static int find_sockets(struct service *service)
{
    const char *at = getenv("NGINX");
    for (; at != NULL && (at = strchr(at, ';')) != NULL; at++) {
        service->sockets_end++;
    }
    return service->sockets_end > RUN_FD_NGINX ? 0
                                               : log_failure("NGINX names no listening sockets");
}

/* The sockets were shut down at a stop of the service, which may be started again. */
static int listen_again(const struct service *service)
{
    for (int fd = RUN_FD_NGINX; fd < service->sockets_end; fd++) {
        if (listener_listen(fd) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A unix socket cannot listen again once it was shut down: another takes its place. */
static int replace_deaf(const struct service *service)
{
    for (int fd = RUN_FD_NGINX; fd < service->sockets_end; fd++) {
        if (!listener_answers(fd) && listener_replace(fd) < 0) {
            return log_failure("a unix socket cannot be opened again: %m");
        }
    }
    return 0;
}

/* Refuses new clients, and disconnects those in the backlog. */
static void shut_down(const struct service *service)
{
    for (int fd = RUN_FD_NGINX; fd < service->sockets_end; fd++) {
        listener_shut_down(fd);
    }
}

/* Adds one byte for each start, and leaves the pid as a link, for which a full disk has room. */
static void note_start(pid_t master)
{
    char text[16];
    cleanup_fd int fd = open("starts", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)!write(fd, ".", 1);
    }
    (void)snprintf(text, sizeof(text), "%d", (int)master);
    if ((unlink("leader") < 0 && errno != ENOENT) || symlink(text, "leader") < 0) {
        log_line("leader: %m");
    }
}

/*
 * The child. nginx has a session of its own, so that neither Ctrl-C nor a resized terminal reaches
 * it: with inherited sockets it takes SIGWINCH for the order to end its workers. Signals stay
 * blocked until it waits for them; before, they would kill it.
 */
static _Noreturn void become_nginx(const char *run, int log)
{
    char program[PATH_MAX];
    char prefix[PATH_MAX];
    char conf[PATH_MAX];
    (void)snprintf(program, sizeof(program), "%s/bin/nginx", run);
    (void)snprintf(prefix, sizeof(prefix), "%s/nginx", run);
    (void)snprintf(conf, sizeof(conf), "%s/nginx/nginx.conf", run);
    if (setsid() >= 0 && dup2(log, STDERR_FILENO) >= 0) {
        /* -e is for notices before the configuration is read; warnings go to standard error all the
         * same. */
        (void)execl(program, "nginx", "-e", "/dev/null", "-p", prefix, "-c", conf, "-g",
                    "daemon off;", (char *)NULL);
    }
    log_line("%s: %m", program);
    _exit(EXIT_FAILURE);
}

static void nginx_start(struct service *service)
{
    service->started_ms = clock_monotonic_ms();
    pid_t child = listen_again(service) < 0 ? -1 : fork();
    if (child == 0) {
        become_nginx(service->run, service->log.output);
    }
    if (child < 0) {
        if (!service->is_failing) {
            log_line("nginx cannot be started yet: %m");
        }
        service->is_failing = true;
        return;
    }
    service->is_failing = false;
    service->deaf_looks = 0;
    service->master = child;
    note_start(child);
}

/* nginx's children by their titles. It changes the title of a worker that is to stop, which closes
 * the sockets when it waits for events again. */
struct children {
    size_t workers; /* that accept connections */
    size_t stopping;
    size_t others;
};

static struct children count_children(pid_t master)
{
    static const char worker[] = "nginx: worker process";
    static const char stopping[] = "nginx: worker process is shutting down";
    cleanup_(pid_list_clear) struct pid_list pids = {0};
    struct children found = {0};
    (void)process_children(master, &pids); /* an incomplete list is not waited for */
    for (size_t i = 0; i < pids.count; i++) {
        char title[sizeof(stopping)];
        if (process_file_read(pids.pids[i], "cmdline", title, sizeof(title))) {
            bool stops = strncmp(title, stopping, strlen(stopping)) == 0;
            bool works = !stops && strncmp(title, worker, strlen(worker)) == 0;
            *(stops ? &found.stopping : works ? &found.workers : &found.others) += 1;
        }
    }
    return found;
}

/*
 * Whether a process may still accept, for a stop. nginx may have been started just now: a worker
 * has its master's title at first, and a master without workers will start some before it looks at
 * signals. None accepts any more when the master has gone, or all workers are stopping.
 */
static bool may_listen(pid_t master)
{
    char title[2];
    struct children found = count_children(master);
    return found.workers + found.others > 0 ||
           (found.stopping == 0 && process_file_read(master, "cmdline", title, sizeof(title)));
}

/*
 * A master that could not fork does not try again, and one that got SIGWINCH has ended its workers:
 * clients would wait in the backlog for ever. A reload mends both.
 */
static void look_after(struct service *service)
{
    if (service->is_stopping || count_children(service->master).workers > 0) {
        service->deaf_looks = 0;
        return;
    }
    service->deaf_looks++;
    if (service->deaf_looks >= DEAF_LOOKS) {
        log_at(LOG_WARNING, "nginx has no workers: it gets a signal to start some");
        (void)kill(service->master, SIGHUP);
        service->deaf_looks = 0;
    }
}

/* The whole session gets the signal, so that workers end also when their master is stopped
 * (SIGSTOP). A socket that is shut down under a worker that waits for connections would keep it
 * busy, with a line for each try. */
static void nginx_stop(struct service *service)
{
    service->is_stopping = true;
    if (service->master != 0) {
        int64_t deadline = clock_monotonic_ms() + CLOSE_PATIENCE_MS;
        (void)kill(service->master, SIGQUIT); /* it may have no session yet */
        (void)kill(-service->master, SIGQUIT);
        while (may_listen(service->master) && clock_monotonic_ms() < deadline) {
            (void)poll(NULL, 0, CLOSE_PAUSE_MS);
        }
    }
    shut_down(service);
}

/* The supervisor was killed. Another one starts this service again, and decides about everything
 * here. */
static bool is_left(const struct service *service)
{
    return getppid() != service->supervisor;
}

/* A supervisor that was killed before this program could know its number has a successor already,
 * and with it another of these. A name that cannot be read decides nothing. */
static bool is_orphan(const struct service *service)
{
    char name[32];
    return process_file_read(service->supervisor, "comm", name, sizeof(name)) &&
           strncmp(name, "s6-supervise", strlen("s6-supervise")) != 0;
}

/* Reaps nginx, and workers that it has left. These are ended first, while the number of their
 * session is certainly theirs. */
static void nginx_reap(struct service *service)
{
    siginfo_t info;
    for (;;) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) {
            return;
        }
        if (info.si_pid == service->master) {
            if (!is_left(service)) {
                (void)kill(-service->master, SIGKILL);
                (void)unlink("leader");
            }
            service->master = 0;
        }
        (void)waitpid(info.si_pid, NULL, 0);
    }
}

/* Waits for a signal, or until it is time to look at nginx or to start it. Returns the signal, or
 * 0. */
static int wait_for_signal(const struct service *service, const sigset_t *signals)
{
    int64_t left = service->started_ms + START_INTERVAL_MS - clock_monotonic_ms();
    if (service->master != 0) {
        left = LOOK_INTERVAL_MS;
    } else if (left < 0) {
        left = 0;
    }
    const struct timespec limit = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
    int number = sigtimedwait(signals, NULL, &limit);
    return number < 0 ? 0 : number;
}

static void nginx_serve(struct service *service, const sigset_t *signals)
{
    while (service->master != 0 || (!service->is_stopping && !is_left(service))) {
        int number = wait_for_signal(service, signals);
        switch (number) {
        case 0:
            if (service->master != 0) {
                look_after(service);
                port_counts_trim(service->run);
            } else if (!is_left(service)) { /* it may have come to that within the wait */
                nginx_start(service);
            }
            break;
        case SIGCHLD: nginx_reap(service); break;
        case SIGPIPE: /* the log has no reader */ break;
        case SIGHUP:
        case SIGUSR1:
            if (service->master != 0) {
                (void)kill(service->master, number);
            }
            break;
        default: nginx_stop(service); break;
        }
    }
}

int nginx_service(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "-r") != 0) {
        return SUBCOMMAND_MISUSED;
    }
    /* nginx must not hold the sockets of other services. */
    for (int fd = STDERR_FILENO + 1; fd < RUN_FD_NGINX; fd++) {
        (void)close(fd);
    }
    /* The thread of the log may still use it when we return. */
    static struct service service = {.sockets_end = RUN_FD_NGINX};
    service.run = argv[2];
    service.supervisor = getppid();
    service.started_ms = clock_monotonic_ms() - START_INTERVAL_MS;
    sigset_t signals;
    if (is_orphan(&service)) {
        return EXIT_SUCCESS;
    }
    (void)sigemptyset(&signals);
    for (const int *number =
             (const int[]){SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGPIPE, 0};
         *number != 0; number++) {
        (void)sigaddset(&signals, *number);
    }
    if (find_sockets(&service) < 0 || replace_deaf(&service) < 0) {
        return EXIT_FAILURE;
    }
    /* Orphaned workers become our children, so that they are reaped here. */
    if (sigprocmask(SIG_SETMASK, &signals, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        log_line("nginx: %m");
        return EXIT_FAILURE;
    }
    resource_limits_lift(NULL);        /* a log may reach the size of a file */
    (void)log_drops_open(service.run); /* without it only the log itself knows */
    if (nginx_log_start(&service.log) < 0) {
        return EXIT_FAILURE;
    }
    nginx_serve(&service, &signals);
    nginx_log_end(&service.log);
    return EXIT_SUCCESS;
}

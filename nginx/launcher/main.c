/*
 * bin/nginx-sandbox: reads the settings, lays out the run directory, opens the daemons' sockets,
 * and becomes s6-svscan, which runs nginx, fcgi-app and procd in the foreground. Whatever is wrong
 * is told in one line, before anything runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/logger.h"
#include "common/settings.h"
#include "nginx/launcher/layout.h"
#include "nginx/launcher/listener.h"
#include "nginx/launcher/ready.h"
#include "nginx/launcher/render.h"
#include "nginx/launcher/run_dir.h"
#include "nginx/launcher/secret.h"
#include "nginx/launcher/worker_user.h"

/* Where the run scripts in nginx/service/ find what they inherit. */
enum {
    FD_FCGI_APP = 3, /* fcgi-app's listening socket */
    FD_PROCD = 4,    /* procd's listening socket */
    FD_LOCK = 5,     /* the locked run directory; the last */
};

static const char usage[] =
    "usage: nginx-sandbox [--generate-secret] [--without-nginx]\n"
    "\n"
    "Runs the sandbox server in the foreground until SIGTERM or SIGINT. Settings come from the\n"
    "environment: SANDBOX_SECRET or SANDBOX_SECRET_FILE (required), PORT (3030), PROXY_PORT "
    "(3031),\n"
    "SANDBOX_MAX_BODY (256m), SANDBOX_LOG_MAX (64m), SANDBOX_MAX_CONNECTIONS (4096),\n"
    "SANDBOX_RUN_DIR (a fresh directory), SANDBOX_ACCESS_LOG (a path or off).\n"
    "\n"
    "  --generate-secret   without a secret make one and print it\n"
    "  --without-nginx     only the daemons and the snippets, for an nginx that is there already\n";

struct options {
    bool generate_secret;
    bool without_nginx;
};

/* Ends the program on --help and on errors. */
static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {{"generate-secret", no_argument, NULL, 'g'},
                                          {"without-nginx", no_argument, NULL, 'w'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options options = {0};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'g':
            options.generate_secret = true;
            break;
        case 'w':
            options.without_nginx = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        exit(2);
    }
    return options;
}

/* Standard descriptors open, nothing else inherited, signals as a fresh process has them. What the
 * run scripts look for is reserved, so that nothing else gets those numbers. */
static int clean_process(void)
{
    int fd;
    if (close_range(STDERR_FILENO + 1, ~0U, 0) < 0) {
        log_line("close_range: %s", strerror(errno));
        return -1;
    }
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd < FD_LOCK && (fd > STDERR_FILENO || fcntl(fd, F_SETFD, 0) == 0));
    if (fd < 0 || dup2(fd, STDIN_FILENO) < 0) {
        log_line("/dev/null: %s", strerror(errno));
        return -1;
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL); /* fails for SIGKILL, SIGSTOP and the C library's own */
    }
    return 0;
}

/* Variables of a make that called us, and a PATH for s6 if there is none. */
static int clean_environment(void)
{
    static const char *const names[] = {"MAKEFLAGS",     "MAKELEVEL",    "MFLAGS",
                                        "MAKEOVERRIDES", "MAKE_TERMOUT", "MAKE_TERMERR"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsetenv(names[i]);
    }
    return setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
}

/* Runs nginx -t. Its words are shown only if it has complaints. */
static int check_nginx(const struct layout *layout, const struct run_dir *run)
{
    char conf[PATH_MAX + 32];
    snprintf(conf, sizeof(conf), "%s/nginx/nginx.conf", run->path);
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        log_line("pipe: %s", strerror(errno));
        return -1;
    }
    pid_t child = fork();
    if (child == 0) {
        if (dup2(pipe_fds[1], STDOUT_FILENO) >= 0 && dup2(pipe_fds[1], STDERR_FILENO) >= 0) {
            execl(layout->nginx, "nginx", "-t", "-q", "-e", "stderr", "-p", run->path, "-c", conf,
                  (char *)NULL);
        }
        _exit(127);
    }
    close_fd(&pipe_fds[1]);
    char words[4096] = "";
    ssize_t length = io_read_full(pipe_fds[0], words, sizeof(words));
    close_fd(&pipe_fds[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        log_line("nginx -t: %s", strerror(errno));
        return -1;
    }
    if (status != 0) {
        if (length > 0) {
            (void)io_write_all(STDERR_FILENO, words, (size_t)length);
        }
        log_line("nginx does not take its configuration (%s)", conf);
        return -1;
    }
    return 0;
}

/* Opens the daemons' sockets and puts them and the lock where the run scripts look for them. */
static int hand_down(const struct run_dir *run, const struct worker_user *worker)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/fcgi-app.sock", run->path);
    cleanup_fd int fcgi_app =
        listener_open_unix(path, false, worker->group == (gid_t)-1 ? 0600 : 0660, worker->group);
    snprintf(path, sizeof(path), "%s/procd.sock", run->path);
    cleanup_fd int procd = fcgi_app < 0 ? -1 : listener_open_unix(path, true, 0600, (gid_t)-1);
    if (procd < 0) {
        return -1;
    }
    if (dup2(fcgi_app, FD_FCGI_APP) < 0 || dup2(procd, FD_PROCD) < 0 ||
        dup2(run->fd, FD_LOCK) < 0) {
        log_line("descriptors: %s", strerror(errno));
        return -1;
    }
    return 0;
}

/* Everything between the run directory and the supervisor. 0, or -1 after one line. */
static int set_up(const struct rendering *rendering)
{
    if (render_nginx(rendering) < 0 || render_services(rendering) < 0 ||
        (rendering->with_nginx && check_nginx(rendering->layout, rendering->run) < 0) ||
        hand_down(rendering->run, rendering->worker) < 0) {
        return -1;
    }
    return 0;
}

/*
 * A second signal must not end `finish`, which s6-svscan becomes, before its first line. What is
 * ignored stays so over exec, and a blocked signal reaches s6-svscan's signalfd even so
 * (signalfd(2)). The run scripts give their programs the defaults back.
 */
static void ignore_stop_signals(void)
{
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGQUIT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
}

/* Becomes the supervisor: the parent that orphans of the whole server get. Returns only on error.
 */
static void supervise(const struct rendering *rendering)
{
    const struct run_dir *run = rendering->run;
    char directory[PATH_MAX + 32];
    snprintf(directory, sizeof(directory), "%s/service", run->path);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        log_line("PR_SET_CHILD_SUBREAPER: %s", strerror(errno));
        return;
    }
    if (!rendering->with_nginx) {
        printf(
            "nginx-sandbox: ready for nginx: include %s/nginx/snippets/{http,server,stream}.conf\n",
            run->path);
        fflush(stdout);
    } else if (ready_announce(rendering->settings, run) < 0) {
        return;
    }
    ignore_stop_signals();
    execl(rendering->layout->s6_svscan, "s6-svscan", directory, (char *)NULL);
    log_line("%s: %s", rendering->layout->s6_svscan, strerror(errno));
}

int main(int argc, char **argv)
{
    logger_open("nginx-sandbox");
    struct options options = read_options(argc, argv);
    static struct layout layout;
    static struct run_dir run;
    struct settings settings;
    struct secret_digest secret;
    struct worker_user worker;
    const struct rendering rendering = {.run = &run,
                                        .layout = &layout,
                                        .settings = &settings,
                                        .secret = &secret,
                                        .worker = &worker,
                                        .with_nginx = !options.without_nginx,
                                        .has_ipv6 = listener_has_ipv6()};
    char error[256];
    if (settings_read(&settings, error, sizeof(error)) < 0) {
        log_line("%s", error);
        return 1;
    }
    if (layout_find(&layout, rendering.with_nginx) < 0 ||
        secret_take(&secret, options.generate_secret) < 0 || clean_process() < 0 ||
        clean_environment() < 0) {
        return 1;
    }
    if (rendering.with_nginx &&
        (listener_check_port("PORT", settings.port, rendering.has_ipv6) < 0 ||
         listener_check_port("PROXY_PORT", settings.proxy_port, rendering.has_ipv6) < 0)) {
        return 1;
    }
    mode_t mask = umask(077);
    if (run_dir_open(&run) < 0) {
        return 1;
    }
    worker_user_choose(&worker, run.path);
    if (set_up(&rendering) == 0) {
        umask(mask);
        supervise(&rendering);
    }
    run_dir_discard(&run);
    return 1;
}

/*
 * bin/nginx-sandbox: reads the settings, lays out the run directory, opens the daemons' sockets,
 * and becomes `supervise`, the parent of s6-svscan, which runs nginx, fcgi-app, procd and guard,
 * and the service of a claim in a pool. Whatever is wrong is told in one line, before anything
 * runs. With a subcommand it is something else: subcommands.h.
 */
#include <fcntl.h>
#include <getopt.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/io.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "common/settings.h"
#include "common/user.h"
#include "launcher/base/file.h"
#include "launcher/base/program.h"
#include "launcher/base/setting_names.h"
#include "launcher/base/stop_signal.h"
#include "launcher/machine/installation.h"
#include "launcher/pool/claim.h"
#include "launcher/render/listen_address.h"
#include "launcher/render/metrics_address.h"
#include "launcher/render/prefix.h"
#include "launcher/render/render.h"
#include "launcher/secrets/secret.h"
#include "launcher/start/layout.h"
#include "launcher/start/listener.h"
#include "launcher/start/path_check.h"
#include "launcher/start/run_cgroup.h"
#include "launcher/start/run_dir.h"
#include "launcher/start/sandbox_user.h"
#include "launcher/start/services.h"
#include "launcher/start/worker_user.h"
#include "launcher/subcommands.h"
#include "launcher/supervise/supervise.h"
#include "procd/cgroup/cgroup.h"

#ifndef NGINX_SANDBOX_VERSION /* the Makefile's, from debian/changelog */
#define NGINX_SANDBOX_VERSION "unknown"
#endif

/* Where the run scripts in nginx/service/ find what they inherit. */
enum {
    FD_FCGI_APP = 3,         /* fcgi-app's listening socket */
    FD_PROCD = 4,            /* procd's listening socket */
    FD_LOCK = 5,             /* the locked run directory */
    FD_CLAIM = 6,            /* the listening socket of the service of a claim, if there is one */
    FD_NGINX = RUN_FD_NGINX, /* nginx's own, from here on */
    FD_COUNT = FD_NGINX + LISTENERS_MOST,
};

static const char usage[] =
    "usage: nginx-sandbox [--generate-secret] [--without-nginx] [-- COMMAND [ARGUMENT...]]\n"
    "       nginx-sandbox SUBCOMMAND [ARGUMENT...]\n"
    "\n"
    "Runs the sandbox server in the foreground until SIGTERM or SIGINT.\n"
    "\n"
    "Options:\n"
    "      --generate-secret  without a secret make one and print it\n"
    "      --without-nginx    only the daemons and the snippets, for an nginx that is there "
    "already\n"
    "      -- COMMAND         runs beside the server, whose end and exit status are the command's\n"
    "  -h, --help             this\n"
    "      --version          the version\n"
    "\n"
    "Subcommands, for a machine with the package (SUBCOMMAND --help):\n";

static void print_usage(FILE *out)
{
    (void)fputs(usage, out);
    subcommands_list(out);
}

static void print_help(void)
{
    print_usage(stdout);
    (void)puts("\nSettings, in the environment, with their defaults (nginx-sandbox.conf(5)):\n");
    setting_names_list(stdout);
}

struct options {
    bool generate_secret;
    bool without_nginx;
    char **command; /* what runs beside the server, or NULL */
};

/* Ends the program on --help, --version and errors. */
static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {{"generate-secret", no_argument, NULL, 'g'},
                                          {"without-nginx", no_argument, NULL, 'w'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'v'},
                                          {0}};
    struct options options = {0};
    for (int option; (option = getopt_long(argc, argv, "+h", known, NULL)) != -1;) {
        switch (option) {
        case 'g':
            options.generate_secret = true;
            break;
        case 'w':
            options.without_nginx = true;
            break;
        case 'h':
            print_help();
            exit(0);
        case 'v':
            (void)puts("nginx-sandbox " NGINX_SANDBOX_VERSION);
            exit(0);
        default:
            print_usage(stderr);
            exit(2);
        }
    }
    bool has_command = strcmp(argv[optind - 1], "--") == 0;
    if (optind < argc && !has_command) {
        print_usage(stderr);
        exit(2);
    }
    if (has_command && optind == argc) {
        log_line("after -- there must be a command");
        exit(2);
    }
    options.command = has_command ? argv + optind : NULL;
    return options;
}

/* Standard descriptors open, nothing else inherited, signals with their default actions, and
 * blocked. What the run scripts look for is reserved, so that nothing else gets those numbers.
 * Standard input is the command's that runs beside the server, or nobody's. */
static int clean_process(bool keeps_input)
{
    int fd;
    if (descriptor_close_inherited() < 0) {
        log_line("descriptors: %m");
        return -1;
    }
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd < FD_COUNT - 1 && (fd > STDERR_FILENO || fcntl(fd, F_SETFD, 0) == 0));
    if (fd < 0 || (!keeps_input && dup2(fd, STDIN_FILENO) < 0)) {
        log_line("/dev/null: %m");
        return -1;
    }
    /* The session's keys are who started us's, and would be every command's (session-keyring(7)). A
     * kernel or container without keys refuses. */
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL); /* fails for SIGKILL, SIGSTOP and the C library's own */
    }
    return 0;
}

/* Whether our own home is one. A container gives a user without an account "/". */
static bool has_home(void)
{
    const char *home = getenv("HOME");
    return home != NULL && home[0] == '/' && access(home, W_OK | X_OK) == 0;
}

/* Variables of a make that called us, and a PATH for s6 and a home if there is none. */
static int clean_environment(const char *home)
{
    static const char *const names[] = {"MAKEFLAGS",     "MAKELEVEL",    "MFLAGS",
                                        "MAKEOVERRIDES", "MAKE_TERMOUT", "MAKE_TERMERR"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsetenv(names[i]);
    }
    if (home != NULL && !has_home() && setenv("HOME", home, 1) < 0) {
        return -1;
    }
    return setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
}

/* Runs nginx -t. Its words are shown only if it has complaints. */
static int check_nginx(const struct layout *layout, const struct run_dir *run)
{
    char conf[PATH_MAX + 32];
    char words[4096];
    (void)snprintf(conf, sizeof(conf), "%s/nginx/nginx.conf", run->path);
    const char *const arguments[] = {layout->nginx, "-t",      "-q", "-e", "stderr",
                                     "-p",          run->path, "-c", conf, NULL};
    int status = program_run(arguments, words, sizeof(words));
    if (status < 0 && !stop_signal_waits()) {
        log_line("nginx -t: %m");
    } else if (status > 0) {
        (void)io_write_all(STDERR_FILENO, words, strlen(words));
        log_line("nginx does not take its configuration (%s)", conf);
    }
    return status == 0 ? 0 : -1;
}

/* What a start is made of. */
struct start {
    const struct run_dir *run;
    const struct layout *layout;
    const struct settings *settings;
    const struct secret_salt *salt;
    const struct secrets *secrets;
    const struct worker_user *worker;
    const struct cors_origins *cors;
    const char *metrics;     /* the address of the listener for Prometheus; "": there is none */
    const struct user *user; /* whom commands run as; NULL: as we do */
    const char *cwd;         /* where commands start; NULL: in our working directory */
    bool with_nginx;         /* a service of ours, too */
    bool pool;               /* the first token is the secret */
    const struct listen_addresses *listen;
    const struct listen_addresses *proxy_listen;
    struct listeners *listeners; /* nginx's; none without it */
};

/* Whether commands could put a socket of their own in the place of one of these, and so get a
 * token. 0, or -1 after one line. */
static int check_unix_sockets(const struct user *user, const struct listen_addresses *addresses)
{
    for (size_t i = 0; i < addresses->count; i++) {
        const struct listen_address *address = &addresses->address[i];
        if (address->any.sa_family == AF_UNIX &&
            path_check_made_again(user, address->local.sun_path, NULL) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Opens nginx's sockets, which are listened on from now on. 0, or -1 after one line. */
static int open_sockets(const struct start *start)
{
    struct listeners *listeners = start->listeners;
    if (!start->with_nginx) {
        return 0;
    }
    if (start->user != NULL && (check_unix_sockets(start->user, start->listen) < 0 ||
                                check_unix_sockets(start->user, start->proxy_listen) < 0)) {
        return -1;
    }
    const char *variable = start->listen->all ? "PORT" : LISTEN_VARIABLE;
    const char *proxy_variable = start->proxy_listen->all ? "PROXY_PORT" : PROXY_LISTEN_VARIABLE;
    return listeners_add_all(listeners, variable, start->listen) < 0 ||
                   listeners_add_all(listeners, proxy_variable, start->proxy_listen) < 0
               ? -1
               : metrics_address_open(start->metrics, listeners);
}

/* RUN/nginx/: one sandbox, which every request is for. */
static int render(const struct start *start)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/nginx", start->run->path);
    cleanup_fd int directory = openat(start->run->fd, "nginx", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct prefixes prefixes;
    if (directory < 0) {
        log_line("%s: %m", path);
        return -1;
    }
    if (prefixes_read(&prefixes, getenv(PREFIX_VARIABLE), start->with_nginx) < 0) {
        return -1;
    }
    const struct rendered_sandbox sandbox = {.name = DEFAULT_SANDBOX,
                                             .run = start->run->path,
                                             .proxy_port = (unsigned)start->settings->proxy_port,
                                             .proxy_listen = start->proxy_listen,
                                             .secrets = start->secrets,
                                             .cors = start->cors};
    const struct rendering rendering = {.directory = directory,
                                        .path = path,
                                        .layout = start->layout,
                                        .settings = start->settings,
                                        .sandboxes = &sandbox,
                                        .count = 1,
                                        .salt = start->salt,
                                        .prefixes = &prefixes,
                                        .map_key = "host",
                                        .map_entries = "default " DEFAULT_SANDBOX ";\n",
                                        .cors = start->cors,
                                        .metrics = start->metrics,
                                        .may_have_tls = !start->with_nginx};
    int result = render_snippets(&rendering);
    if (result == 0) {
        result = render_frame(&rendering, start->listen, start->with_nginx ? start->worker : NULL);
    }
    prefixes_free(&prefixes);
    return result;
}

/* What nginx is to compare tokens with, by this salt or that of a claim; nothing yet in a `pool`
 * that nobody has taken it from. */
static int take_secret(struct secret_salt *salt, struct secrets *secrets, const char *url,
                       bool *pool)
{
    int found = claim_take(salt, secrets);
    *pool = found > 0;
    if (found != 0) {
        return found < 0 ? -1 : 0;
    }
    return secret_take(salt, secrets, url);
}

/* With one secret nginx compares by itself. */
static int find_http_js(struct layout *layout, const struct secrets *secrets)
{
    return secrets->count == 1 ? 0 : layout_find_http_js(layout);
}

/* 0, or -1 after one line. */
static int take_addresses(const struct settings *settings, struct listen_addresses *listen,
                          struct listen_addresses *proxy_listen)
{
    char error[256];
    bool ipv6 = listener_has_ipv6();
    if (listen_addresses_read(listen, LISTEN_VARIABLE, (unsigned)settings->port, ipv6, error,
                              sizeof(error)) < 0 ||
        listen_addresses_read(proxy_listen, PROXY_LISTEN_VARIABLE, (unsigned)settings->proxy_port,
                              ipv6, error, sizeof(error)) < 0) {
        log_line("%s", error);
        return -1;
    }
    return 0;
}

/* 0, or -1 after one line. */
static int take_cors(struct cors_origins *cors)
{
    char error[256];
    if (cors_origins_read(cors, getenv(CORS_VARIABLE), error, sizeof(error)) < 0) {
        log_line("%s", error);
        return -1;
    }
    return 0;
}

/* What the environment says, but for the secret. 0, or -1 after one line. */
static int take_environment(struct settings *settings, char metrics[METRICS_ADDRESS_SIZE],
                            struct listen_addresses *listen, struct listen_addresses *proxy_listen,
                            struct cors_origins *cors)
{
    if (settings_take(settings) < 0 || metrics_address_take(metrics, settings) < 0 ||
        take_addresses(settings, listen, proxy_listen) < 0 || take_cors(cors) < 0) {
        return -1;
    }
    setting_names_warn(NULL);
    return 0;
}

/* The file of a claim: where it lasts, and where commands cannot get at it. */
static int check_claim(const struct start *start)
{
    const char *path = getenv(CLAIM_PATH_VARIABLE);
    if (!start->pool) {
        return 0;
    }
    if (claim_check_place(path, start->run->path) < 0) {
        return -1;
    }
    char resolved[PATH_MAX];
    if (start->user == NULL) {
        return 0;
    }
    return path_check_made_again(start->user, path, resolved) < 0
               ? -1
               : setenv(CLAIM_PATH_VARIABLE, resolved, 1);
}

/* Opens a daemon's socket in the run directory, for this user and group, and puts it where the run
 * scripts look for it. */
static int hand_down_socket(const struct run_dir *run, const char *name, int target, uid_t user,
                            gid_t group)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/%s", run->path, name);
    cleanup_fd int fd =
        listener_open_unix(path, target == FD_PROCD, group == (gid_t)-1 ? 0600 : 0660, user, group);
    if (fd < 0) {
        return -1;
    }
    if (dup2(fd, target) < 0) {
        log_line("descriptors: %m");
        return -1;
    }
    return 0;
}

/* nginx's sockets, and their numbers as it reads them in the variable NGINX. */
static int hand_down_ports(const struct start *start)
{
    char text[LISTENERS_MOST * 4 + 1] = "";
    for (size_t i = 0; i < start->listeners->count; i++) {
        int fd = FD_NGINX + (int)i;
        size_t length = strlen(text);
        (void)snprintf(text + length, sizeof(text) - length, "%d;", fd);
        if (dup2(start->listeners->fds[i], fd) < 0) {
            log_line("descriptors: %m");
            return -1;
        }
    }
    if (file_write(start->run->fd, RUN_NGINX_SOCKETS, 0600, text, strlen(text)) < 0) {
        log_line("%s/" RUN_NGINX_SOCKETS ": %m", start->run->path);
        return -1;
    }
    return 0;
}

/* The sockets and the lock. */
static int hand_down(const struct start *start)
{
    uid_t owner = start->user == NULL ? (uid_t)-1 : start->user->uid;
    gid_t workers = start->worker->group;
    if (hand_down_socket(start->run, RUN_FCGI_APP_SOCKET, FD_FCGI_APP, (uid_t)-1, workers) < 0 ||
        hand_down_socket(start->run, RUN_PROCD_SOCKET, FD_PROCD, owner, (gid_t)-1) < 0 ||
        (start->secrets->count == 0 &&
         hand_down_socket(start->run, RUN_CLAIM_SOCKET, FD_CLAIM, (uid_t)-1, workers) < 0)) {
        return -1;
    }
    if (dup2(start->run->fd, FD_LOCK) < 0) {
        log_line("descriptors: %m");
        return -1;
    }
    return start->with_nginx ? hand_down_ports(start) : 0;
}

/* Everything between the run directory and the supervisor. 0, or -1 after one line. */
static int set_up(const struct start *start)
{
    if ((start->user != NULL &&
         sandbox_user_check(start->user, start->worker, start->run, start->layout) < 0) ||
        run_dir_admit(start->run, start->user, start->worker->group) < 0) {
        return -1;
    }
    if (check_claim(start) < 0 || run_cgroup_make(start->settings, start->run, start->user) < 0 ||
        render(start) < 0 ||
        services_link(start->run, start->layout, start->cwd, start->with_nginx,
                      start->secrets->count == 0) < 0 ||
        (start->with_nginx && check_nginx(start->layout, start->run) < 0) || hand_down(start) < 0) {
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    logger_open("nginx-sandbox");
    if (argc > 1 && argv[1][0] != '-') {
        return subcommands_run(argc - 1, argv + 1);
    }
    stop_signal_block();
    struct options options = read_options(argc, argv);
    static struct layout layout;
    static struct run_dir run;
    struct settings settings;
    struct secret_salt salt;
    struct secrets secrets;
    struct worker_user worker;
    static struct cors_origins cors; /* for as long as the process */
    struct listen_addresses listen;
    struct listen_addresses proxy_listen;
    struct listeners listeners = {0};
    char metrics[METRICS_ADDRESS_SIZE];
    char url[LISTEN_URL_SIZE];
    cleanup_user struct user user = {0};
    bool can_enter_home;
    struct start start = {.run = &run,
                          .layout = &layout,
                          .settings = &settings,
                          .salt = &salt,
                          .secrets = &secrets,
                          .worker = &worker,
                          .cors = &cors,
                          .listen = &listen,
                          .proxy_listen = &proxy_listen,
                          .listeners = &listeners,
                          .metrics = metrics,
                          .with_nginx = !options.without_nginx};
    if (take_environment(&settings, metrics, &listen, &proxy_listen, &cors) < 0) {
        return 1;
    }
    int has_user = sandbox_user_open(settings.user, &user, &can_enter_home);
    if (has_user > 0) {
        start.user = &user;
        start.cwd = can_enter_home ? user.home : "/";
    }
    listen_addresses_url(&listen, url);
    if (has_user < 0 || layout_find(&layout, start.with_nginx) < 0 || secret_make_salt(&salt) < 0 ||
        take_secret(&salt, &secrets, options.generate_secret ? url : NULL, &start.pool) < 0 ||
        (start.with_nginx && find_http_js(&layout, &secrets) < 0) ||
        clean_process(options.command != NULL) < 0 || clean_environment(settings.home) < 0) {
        return 1;
    }
    if (open_sockets(&start) < 0) {
        listeners_remove_files(&listeners);
        return 1;
    }
    mode_t mask = umask(077);
    if (run_dir_open(&run) < 0) {
        listeners_remove_files(&listeners);
        return stop_signal_waits() ? 0 : 1;
    }
    worker_user_choose(&worker, run.path);
    if (set_up(&start) == 0) {
        umask(mask);
        supervise_become(layout.launcher, run.path, start.with_nginx, options.command);
        log_line("%s: %m", layout.launcher);
    }
    bool stopped = stop_signal_waits();
    (void)cgroup_remove(run.path, settings.cgroup);
    listeners_remove_files(&listeners);
    run_dir_discard(&run);
    return stopped ? 0 : 1;
}

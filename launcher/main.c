/*
 * bin/nginx-sandbox: reads the settings, lays out the run directory, opens the daemons' sockets,
 * and becomes `supervise`, the parent of s6-svscan, which runs nginx, fcgi-app, procd and guard,
 * and in a pool the service of the claim. An error is one line, before any of them runs. With a
 * subcommand it is another program: subcommands.h.
 */
#include <fcntl.h>
#include <getopt.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/logger.h"
#include "common/settings.h"
#include "common/user.h"
#include "common/variables.h"
#include "launcher/base/program.h"
#include "launcher/base/setting_names.h"
#include "launcher/base/stop_signal.h"
#include "launcher/base/subcommand.h"
#include "launcher/pool/claim.h"
#include "launcher/render/listen_address.h"
#include "launcher/render/port_rules.h"
#include "launcher/render/prefix.h"
#include "launcher/render/render.h"
#include "launcher/secrets/secret.h"
#include "launcher/start/inherited.h"
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
    "      -- COMMAND         runs beside the server, which ends with its exit status\n"
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
    char **command; /* what runs beside the server; empty: nothing */
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
        case 'g': options.generate_secret = true; break;
        case 'w': options.without_nginx = true; break;
        case 'h': print_help(); exit(0);
        case 'v': (void)puts("nginx-sandbox " NGINX_SANDBOX_VERSION); exit(0);
        default: print_usage(stderr); exit(2);
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
    options.command = argv + optind;
    return options;
}

/* Nothing inherited but the standard descriptors; signals with their default actions, and still
 * blocked. Standard input is that of the command beside the server, or /dev/null. */
static int clean_process(bool keeps_input)
{
    if (inherited_reserve() < 0) {
        return -1;
    }
    cleanup_fd int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0 || (!keeps_input && dup2(nothing, STDIN_FILENO) < 0)) {
        return log_failure("/dev/null: %m");
    }
    /* The keys of the session are those of the user who started us, and every command would have
     * them (session-keyring(7)). A kernel or container without keys refuses. */
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL); /* fails for SIGKILL, SIGSTOP and the C library's own */
    }
    return 0;
}

/* Whether HOME is a directory that we can use. A container gives a user without an account "/". */
static bool has_home(void)
{
    const char *home = getenv("HOME");
    return home != NULL && home[0] == '/' && access(home, W_OK | X_OK) == 0;
}

/* Removes the variables of a make that has started us, and sets PATH for s6 and HOME if they are
 * missing. */
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

/* Runs nginx -t. Its output is shown only if it has complaints. */
static int check_nginx(const struct layout *layout, const struct run_dir *run)
{
    char conf[PATH_MAX + 32];
    char words[4096];
    (void)snprintf(conf, sizeof(conf), "%s/nginx/nginx.conf", run->path);
    int status = program_run(words, sizeof(words), layout->daemons[DAEMON_NGINX], "-t", "-q", "-e",
                             "stderr", "-p", run->path, "-c", conf);
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
    bool with_nginx; /* a service of ours, too */
    struct layout layout;
    struct site site;       /* of one sandbox, which all requests are for */
    struct sandbox sandbox; /* that one */
    struct listen_addresses listen;
    struct listeners listeners; /* nginx's; none without it */
    char claim[PATH_MAX];       /* the file of the claim in pool mode, or "" */
    const char *access_log;     /* SANDBOX_ACCESS_LOG, or NULL */
    struct user user;           /* of commands, if there is another than ours */
    bool has_user;
    bool can_enter_home;
    struct run_dir run;
    struct worker_user worker;
};

/* Reads all settings but the secret. 0, or -1 after one line. */
static int read_environment(struct start *start)
{
    struct site *site = &start->site;
    const struct settings *settings = &site->settings;
    bool ipv6 = listener_has_ipv6();
    if (settings_take(&site->settings) < 0 || metrics_address_read(&site->metrics, NULL) < 0 ||
        listen_addresses_read(&start->listen, NULL, LISTEN_VARIABLE, (unsigned)settings->port,
                              ipv6) < 0 ||
        listen_addresses_read(&start->sandbox.proxy_listen, NULL, PROXY_LISTEN_VARIABLE,
                              (unsigned)settings->proxy_port, ipv6) < 0 ||
        cors_origins_read(&site->cors, NULL) < 0 ||
        port_rules_read(&start->sandbox.ports, NULL) < 0 ||
        port_front_read(&site->ports, NULL) < 0 ||
        prefixes_read(&site->prefixes, NULL, start->with_nginx) < 0) {
        return -1;
    }
    unsigned port = listen_address_port(&site->metrics);
    if (port != 0 && (port == settings->port || port == settings->proxy_port)) {
        return log_failure(
            METRICS_VARIABLE " must have a port of its own, not PORT or PROXY_PORT (%u)", port);
    }
    start->access_log = variables_get(NULL, ACCESS_LOG_VARIABLE);
    setting_names_warn(NULL);
    return 0;
}

/* Finds the user of commands, the programs, and the digests that nginx is to compare tokens with:
 * by our salt or that of a claim, or none yet in a pool. 0, or -1 after one line. */
static int find_parts(struct start *start, bool generate_secret)
{
    char url[LISTEN_URL_SIZE];
    int found = sandbox_user_open(start->site.settings.user, &start->user, &start->can_enter_home);
    start->has_user = found > 0;
    if (found < 0 || layout_find(&start->layout, start->with_nginx) < 0 ||
        secret_make_salt(&start->site.salt) < 0) {
        return -1;
    }
    listen_addresses_url(&start->listen, url);
    int claimed = claim_take(&start->site.salt, &start->sandbox.secrets, start->claim);
    if (claimed < 0 || (claimed == 0 && secret_take(&start->site.salt, &start->sandbox.secrets,
                                                    generate_secret ? url : NULL) < 0)) {
        return -1;
    }
    return start->with_nginx ? layout_find_http_js(&start->layout) : 0;
}

/* Checks that commands cannot replace one of these sockets, and so get a token. 0, or -1 after one
 * line. */
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

/* Opens nginx's sockets, which listen from now on. 0, or -1 after one line. */
static int open_sockets(struct start *start)
{
    struct listeners *listeners = &start->listeners;
    const struct listen_addresses *listen = &start->listen;
    const struct listen_addresses *proxy_listen = &start->sandbox.proxy_listen;
    if (!start->with_nginx) {
        return 0;
    }
    if (start->has_user && (check_unix_sockets(&start->user, listen) < 0 ||
                            check_unix_sockets(&start->user, proxy_listen) < 0)) {
        return -1;
    }
    const char *variable = listen->all ? "PORT" : LISTEN_VARIABLE;
    const char *proxy_variable = proxy_listen->all ? "PROXY_PORT" : PROXY_LISTEN_VARIABLE;
    if (listeners_add_all(listeners, variable, listen) < 0 ||
        listeners_add_all(listeners, proxy_variable, proxy_listen) < 0) {
        return -1;
    }
    return start->site.metrics.size == 0
               ? 0
               : listeners_add(listeners, METRICS_VARIABLE, &start->site.metrics);
}

/* Writes RUN/nginx/. 0, or -1 after one line. */
static int render(struct start *start)
{
    static char map_entries[] = "default " DEFAULT_SANDBOX ";\n";
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/nginx", start->run.path);
    cleanup_fd int directory = openat(start->run.fd, "nginx", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        return log_failure("%s: %m", path);
    }
    (void)snprintf(start->sandbox.name, sizeof(start->sandbox.name), DEFAULT_SANDBOX);
    memcpy(start->sandbox.run, start->run.path, sizeof(start->sandbox.run));
    start->sandbox.settings = start->site.settings;
    start->sandbox.cors = start->site.cors;
    start->site.sandboxes = &start->sandbox;
    start->site.count = 1;
    start->site.map_key = "host";
    start->site.map_entries = map_entries;
    const struct rendering rendering = {.directory = directory,
                                        .path = path,
                                        .layout = &start->layout,
                                        .site = &start->site,
                                        .may_have_tls = !start->with_nginx};
    if (render_snippets(&rendering) < 0) {
        return -1;
    }
    return render_frame(&rendering, &start->listen, start->with_nginx ? &start->worker : NULL,
                        start->access_log);
}

/* Checks that the user of commands cannot replace a file of ours. Paths become ones without links.
 * 0, or -1 after one line. */
static int check_paths(struct start *start)
{
    static char access_log[PATH_MAX];
    const struct user *user = &start->user;
    if (start->claim[0] != '\0' && claim_check_place(start->claim, start->run.path) < 0) {
        return -1;
    }
    if (!start->has_user) {
        return 0;
    }
    if (sandbox_user_check(user, &start->worker, &start->run, &start->layout) < 0 ||
        (start->claim[0] != '\0' && path_check_made_again(user, start->claim, start->claim) < 0)) {
        return -1;
    }
    if (start->access_log == NULL || start->access_log[0] != '/') {
        return 0;
    }
    int result = sandbox_user_check_access_log(user, start->access_log, access_log);
    start->access_log = access_log;
    return result;
}

/* Gives the services the settings that have been checked, by their environment. 0, or -1 after one
 * line. */
static int hand_down_settings(const struct start *start)
{
    if ((start->access_log != NULL && setenv(ACCESS_LOG_VARIABLE, start->access_log, 1) < 0) ||
        (start->claim[0] != '\0' && setenv(CLAIM_PATH_VARIABLE, start->claim, 1) < 0) ||
        setenv(CGROUP_VARIABLE, start->site.settings.cgroup, 1) < 0) {
        return log_failure("setenv: %m");
    }
    return 0;
}

/* Everything between the run directory and the supervisor. 0, or -1 after one line. */
static int set_up(struct start *start)
{
    const struct user *user = start->has_user ? &start->user : NULL;
    const char *home = start->can_enter_home ? start->user.home : "/";
    bool unclaimed = start->sandbox.secrets.count == 0;
    worker_user_choose(&start->worker, start->run.path);
    if (check_paths(start) < 0 || run_dir_admit(&start->run, user, start->worker.group) < 0 ||
        run_cgroup_make(&start->site.settings, &start->run, user) < 0 || render(start) < 0 ||
        services_link(&start->run, &start->layout, user == NULL ? NULL : home, start->with_nginx,
                      unclaimed) < 0 ||
        (start->with_nginx && check_nginx(&start->layout, &start->run) < 0) ||
        hand_down_settings(start) < 0) {
        return -1;
    }
    return inherited_open(&start->run, &start->listeners, user == NULL ? (uid_t)-1 : user->uid,
                          start->worker.group, unclaimed);
}

int main(int argc, char **argv)
{
    static struct start start;
    logger_open("nginx-sandbox");
    if (argc > 1 && argv[1][0] != '-') {
        return subcommands_run(argc - 1, argv + 1);
    }
    stop_signal_block();
    struct options options = read_options(argc, argv);
    start.with_nginx = !options.without_nginx;
    if (read_environment(&start) < 0 || find_parts(&start, options.generate_secret) < 0 ||
        clean_process(options.command[0] != NULL) < 0 ||
        clean_environment(start.site.settings.home) < 0) {
        return 1;
    }
    if (open_sockets(&start) < 0) {
        listeners_remove_files(&start.listeners);
        return 1;
    }
    mode_t mask = umask(077);
    if (run_dir_open(&start.run, variables_get(NULL, RUN_DIR_VARIABLE)) < 0) {
        listeners_remove_files(&start.listeners);
        return stop_signal_waits() ? 0 : 1;
    }
    if (set_up(&start) == 0) {
        umask(mask);
        supervise_become(start.layout.launcher, start.run.path, start.with_nginx, options.command);
        log_line("%s: %m", start.layout.launcher);
    }
    bool stopped = stop_signal_waits();
    (void)cgroup_remove(start.run.path, start.site.settings.cgroup);
    listeners_remove_files(&start.listeners);
    run_dir_discard(&start.run);
    return stopped ? 0 : 1;
}

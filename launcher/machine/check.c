/*
 * nginx-sandbox check: looks at an installation from the settings to the daemons, and says for each
 * thing that is wrong what it is and what to do. It changes nothing.
 */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/process_stat.h"
#include "common/run_files.h"
#include "common/user.h"
#include "launcher/base/program.h"
#include "launcher/base/subcommand.h"
#include "launcher/machine/environment_file.h"
#include "launcher/machine/installation.h"
#include "procd/process/process_table.h"
#include "procd/wire/client.h"

#define SEARCH_PATH       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define CONFIGURATION_MAX (8 << 20) /* of all nginx; what is beyond is not looked at */
#define ANSWER_TIMEOUT_MS 2000

#define CLOCK_SLACK_MS 1000 /* whole seconds are compared */

#define RENDER "nginx-sandbox render && nginx -t && systemctl reload nginx"

static unsigned problems;

/* Both with the arguments of printf(3): what is wrong, and in a line of its own what to do. */
__attribute__((format(printf, 1, 2))) static void problem(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("- ", stdout);
    (void)vprintf(format, arguments);
    (void)putchar('\n');
    va_end(arguments);
    problems++;
}

__attribute__((format(printf, 1, 2))) static void remedy(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("    ", stdout);
    (void)vprintf(format, arguments);
    (void)putchar('\n');
    va_end(arguments);
}

/* ---- the settings ---- */

/* The environment becomes that of the sandbox's daemons, but for what a program needs. */
static bool take_environment(const char *etc, const char *name)
{
    char path[PATH_MAX];
    (void)clearenv();
    (void)snprintf(path, sizeof(path), "%s/%s.conf", etc, name);
    if (environment_file_read(path) < 0) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "%s/nginx-sandbox.conf", etc);
    return environment_file_read(path) >= 0 && setenv("PATH", SEARCH_PATH, 1) == 0;
}

static void check_user(const char *etc, const char *name)
{
    cleanup_user struct user user = {0};
    char error[256];
    int found = take_environment(etc, name)
                    ? user_find(getenv("SANDBOX_USER"), &user, error, sizeof(error))
                    : 0;
    const struct passwd *worker = user_worker_account();
    if (found < 0) {
        problem("%s: %s.", name, error);
        remedy("Correct SANDBOX_USER, or make the user.");
    } else if (found == 0) {
        problem("%s: commands run as root, who is the whole machine.", name);
        remedy("Set SANDBOX_USER=nginx-sandbox in nginx-sandbox.conf.");
    } else if (worker != NULL &&
               (user.uid == worker->pw_uid || user_has_group(&user, worker->pw_gid))) {
        problem("%s: the user of commands is nginx's %s, or has its group.", name, worker->pw_name);
        remedy("Choose another user, or take it out of that group.");
    }
}

/* ---- what nginx includes ---- */

static bool is_newer(const struct stat *one, const struct stat *other)
{
    return one->st_mtim.tv_sec != other->st_mtim.tv_sec
               ? one->st_mtim.tv_sec > other->st_mtim.tv_sec
               : one->st_mtim.tv_nsec > other->st_mtim.tv_nsec;
}

static void check_age(const struct stat *rendered, const char *etc, const char *name,
                      const char *suffix)
{
    char path[PATH_MAX];
    struct stat source;
    (void)snprintf(path, sizeof(path), "%s/%s%s", etc, name, suffix);
    if (stat(path, &source) == 0 && is_newer(&source, rendered)) {
        problem("%s was changed after what nginx includes was made of it.", path);
        remedy(RENDER);
    }
}

static void check_rendered(const char *etc, const struct installation *installation)
{
    char path[PATH_MAX];
    struct stat rendered;
    (void)snprintf(path, sizeof(path), "%s/nginx/http.conf", etc);
    if (stat(path, &rendered) < 0) {
        problem("What nginx includes is not there: %s: %s.", path, strerror(errno));
        remedy(RENDER);
        return;
    }
    check_age(&rendered, etc, "nginx-sandbox", ".conf");
    check_age(&rendered, etc, "map", ".conf");
    for (size_t i = 0; i < installation->count; i++) {
        check_age(&rendered, etc, installation->sandboxes[i].name, ".conf");
        check_age(&rendered, etc, installation->sandboxes[i].name, ".secret");
    }
}

/* ---- nginx ---- */

static bool includes(const char *configuration, const char *etc, const char *name)
{
    char line[PATH_MAX];
    (void)snprintf(line, sizeof(line), "\n# configuration file %s/nginx/%s:", etc, name);
    return strstr(configuration, line) != NULL;
}

/* Its workers must get at the sockets, which have the group of the account that is known here. */
static void check_worker(const char *configuration)
{
    const struct passwd *worker = user_worker_account();
    const char *line = strstr(configuration, "\nuser ");
    char name[64] = "";
    /* NOLINTNEXTLINE(cert-err34-c): a word */
    if (line == NULL || worker == NULL || sscanf(line, "\nuser %63[^; \n]", name) != 1 ||
        strcmp(name, worker->pw_name) == 0) {
        return;
    }
    problem("nginx's workers are %s, who cannot reach the "
            "daemons: the sockets are %s's.",
            name, worker->pw_name);
    remedy("Let nginx.conf say: user %s;", worker->pw_name);
}

/* How long ago the youngest worker was started; -1 when there is none. */
static int64_t age_of_workers(pid_t master)
{
    cleanup_(pid_list_clear) struct pid_list children = {0};
    int64_t age = -1;
    if (process_children(master, &children) < 0) {
        return -1;
    }
    for (size_t i = 0; i < children.count; i++) {
        int64_t one = process_age_ms(children.pids[i]);
        age = one >= 0 && (age < 0 || one < age) ? one : age;
    }
    return age;
}

/* Whether nginx has read what was rendered last. */
static void check_reload(const char *etc)
{
    static const char *const ask[] = {"systemctl", "show",  "--value", "-p",
                                      "MainPID",   "nginx", NULL};
    char path[PATH_MAX];
    char number[32];
    struct stat rendered;
    struct timespec now;
    (void)snprintf(path, sizeof(path), "%s/nginx/http.conf", etc);
    if (stat(path, &rendered) < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0 ||
        program_run(ask, number, sizeof(number)) != 0) {
        return;
    }
    int64_t age = (int64_t)(now.tv_sec - rendered.st_mtim.tv_sec) * 1000;
    int64_t workers = age_of_workers((pid_t)strtol(number, NULL, 10));
    if (workers > age + CLOCK_SLACK_MS) {
        problem("nginx has not read its configuration since what it includes was made anew.");
        remedy("nginx -t && systemctl reload nginx");
    }
}

static void check_nginx(const char *etc)
{
    static const char *const dump[] = {"nginx", "-T", NULL};
    cleanup_free char *configuration = malloc(CONFIGURATION_MAX);
    if (configuration == NULL) {
        log_line("nginx -T: %m");
        problems++;
        return;
    }
    if (program_run(dump, configuration, CONFIGURATION_MAX) != 0) {
        problem("nginx does not take its configuration:\n%.2000s", configuration);
        remedy("nginx -t says it again.");
        return;
    }
    if (!includes(configuration, etc, "http.conf")) {
        problem("nginx does not include what the API needs at the level of http.");
        remedy("In http {}: include /etc/nginx/conf.d/nginx-sandbox.conf;");
    }
    if (!includes(configuration, etc, "server.conf")) {
        problem("No server block of nginx includes the API.");
        remedy("In the server block of your choice: include snippets/nginx-sandbox.conf;");
    }
    check_worker(configuration);
    if (!program_unit_is("is-active", "nginx")) {
        problem("nginx does not run.");
        remedy("systemctl start nginx");
    } else {
        check_reload(etc);
    }
}

/* ---- the daemons ---- */

static void check_machine(void)
{
    struct statfs system;
    if (access("/run/systemd/system", F_OK) < 0) {
        problem("systemd does not run here, which starts the daemons.");
        remedy("Without it, nginx-sandbox(8) runs a server in the foreground.");
    }
    if (statfs("/sys/fs/cgroup", &system) < 0 || system.f_type != CGROUP2_SUPER_MAGIC) {
        problem("The cgroups of this machine are not those of version 2 alone.");
        remedy("Start the kernel with systemd.unified_cgroup_hierarchy=1.");
    }
}

/* A client of procd is one's for life. */
static int ping(const void *path)
{
    return procd_client_init(path) == 0 && procd_ping(ANSWER_TIMEOUT_MS) == PROCD_DONE ? 0 : 1;
}

static bool procd_answers(const char *state, const char *name)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/%s/" RUN_PROCD_SOCKET, state, name);
    return program_call(ping, path) == 0;
}

static void check_unit(const char *sandbox, const char *daemon, const char *unit)
{
    if (!program_unit_is("is-active", unit)) {
        problem("%s: %s not run.", sandbox, daemon);
        remedy("systemctl start %s; journalctl -e -u %s", unit, unit);
    }
}

/* Of the sandbox nothing but the name is known for sure: its settings may be wrong. */
static void check_daemons(const char *state, const char *name)
{
    static const char *const daemons[] = {"procd", "fcgi-app", "guard"};
    char whole[128];
    char unit[128];
    (void)snprintf(whole, sizeof(whole), "nginx-sandbox@%s.service", name);
    if (!program_unit_is("is-enabled", whole)) {
        problem("%s: is not started at boot.", name);
        remedy("systemctl enable %s", whole);
    }
    check_unit(name, "does", whole);
    if (!program_unit_is("is-active", whole)) {
        return;
    }
    for (size_t i = 0; i < sizeof(daemons) / sizeof(daemons[0]); i++) {
        char text[32];
        (void)snprintf(unit, sizeof(unit), "nginx-sandbox-%s@%s.service", daemons[i], name);
        (void)snprintf(text, sizeof(text), "%s does", daemons[i]);
        check_unit(name, text, unit);
    }
    if (!procd_answers(state, name)) {
        problem("%s: procd does not answer.", name);
        remedy("systemctl restart nginx-sandbox-procd@%s", name);
    }
}

static void check_all(const char *etc, const char *state)
{
    struct installation installation;
    (void)fflush(stdout);
    check_machine();
    if (installation_read(&installation, etc, state) < 0) {
        problem("The settings cannot be used, and what nginx includes cannot be made: the line on "
                "standard error says why.");
        remedy("Correct it, then: " RENDER);
    } else {
        for (size_t i = 0; i < installation.count; i++) {
            check_user(etc, installation.sandboxes[i].name);
        }
        check_rendered(etc, &installation);
    }
    (void)setenv("PATH", SEARCH_PATH, 1);
    check_nginx(etc);
    for (size_t i = 0; i < installation.count; i++) {
        check_daemons(state, installation.sandboxes[i].name);
    }
    installation_free(&installation);
}

int check_main(int count, char **arguments)
{
    struct subcommand_places places;
    if (subcommand_places(count, arguments, "es", &places) != count) {
        return subcommand_misused(arguments[0]);
    }
    if (geteuid() != 0) {
        log_line("only root can see all that check looks at");
        return EXIT_FAILURE;
    }
    check_all(places.etc, places.state);
    if (problems == 0) {
        (void)puts("Nothing is wrong.");
    }
    return problems == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * `nginx -T` prints each file after a line with its name.
 */
#include "launcher/machine/check_nginx.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/process_stat.h"
#include "common/user.h"
#include "launcher/base/file.h"
#include "launcher/base/program.h"
#include "launcher/machine/problem.h"
#include "procd/process/process_table.h"

#define CONFIGURATION_MAX (8 << 20) /* of the whole configuration; the rest is not looked at */

#define CLOCK_SLACK_MS 1000 /* whole seconds are compared */

#define FILE_LINE "\n# configuration file "
#define HTTP_FILE "/nginx/snippets/http.conf"

#define DEFAULT_PID_FILE "/run/nginx.pid"

char *check_nginx_dump(void)
{
    cleanup_free char *configuration = malloc(CONFIGURATION_MAX);
    if (configuration == NULL) {
        problem("nginx -T: %s.", strerror(errno));
        return NULL;
    }
    if (program_run(configuration, CONFIGURATION_MAX, "nginx", "-T") != 0) {
        problem("nginx does not take its configuration:\n%.2000s", configuration);
        remedy("nginx -t says it again.");
        return NULL;
    }
    return steal_pointer(configuration);
}

bool check_nginx_reads(const char *configuration, const char *path)
{
    char line[PATH_MAX + 64];
    (void)snprintf(line, sizeof(line), FILE_LINE "%s:", path);
    return strstr(configuration, line) != NULL;
}

void check_nginx_servers(const char *configuration, const char *etc,
                         struct included_servers *servers)
{
    servers->count = 0;
    for (const char *at = configuration; (at = strstr(at, FILE_LINE)) != NULL;) {
        at += strlen(FILE_LINE);
        size_t length = strcspn(at, ":\n");
        size_t suffix = strlen(HTTP_FILE);
        if (length <= suffix || length - suffix >= PATH_MAX ||
            strncmp(at + length - suffix, HTTP_FILE, suffix) != 0 ||
            servers->count == SERVERS_MOST) {
            continue;
        }
        char *run = servers->run[servers->count];
        (void)snprintf(run, PATH_MAX, "%.*s", (int)(length - suffix), at);
        servers->count += strcmp(run, etc) != 0;
    }
}

void check_nginx_rendered(const char *configuration, const char *etc)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/nginx/http.conf", etc);
    if (!check_nginx_reads(configuration, path)) {
        problem("nginx does not include what the API needs at the level of http.");
        remedy("In http {}: include /etc/nginx/conf.d/nginx-sandbox.conf; or %s;", path);
    }
    (void)snprintf(path, sizeof(path), "%s/nginx/server.conf", etc);
    if (!check_nginx_reads(configuration, path)) {
        problem("No server block of nginx includes the API.");
        remedy("In the server block of your choice: include snippets/nginx-sandbox.conf; or %s;",
               path);
    }
}

void check_nginx_snippets(const char *configuration, const char *run)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/nginx/snippets/server.conf", run);
    if (!check_nginx_reads(configuration, path)) {
        problem("No server block of nginx includes the API of the server in %s.", run);
        remedy("In the server block of your choice: include %s;", path);
    }
}

/* The sockets belong to the group of the worker account that is known here. */
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
    problem("nginx's workers run as %s and cannot reach the daemons: the sockets belong to %s.",
            name, worker->pw_name);
    remedy("In nginx.conf: user %s;", worker->pw_name);
}

/* The pid of nginx's master, by the file that the configuration names; 0: nginx does not run. */
static pid_t find_master(const char *configuration)
{
    char path[PATH_MAX] = DEFAULT_PID_FILE;
    const char *line = strstr(configuration, "\npid ");
    if (line != NULL) {
        line += strlen("\npid ");
        line += strspn(line, " \t\"'");
        (void)snprintf(path, sizeof(path), "%.*s", (int)strcspn(line, ";\"' \n"), line);
    }
    cleanup_free char *text = file_read(AT_FDCWD, path, 64);
    pid_t pid = text == NULL ? 0 : (pid_t)strtol(text, NULL, 10);
    return pid > 0 && kill(pid, 0) == 0 ? pid : 0;
}

void check_nginx_itself(const char *configuration)
{
    check_worker(configuration);
    if (find_master(configuration) == 0) {
        problem("nginx does not run.");
        remedy(machine_has_systemd() ? "systemctl start nginx" : "nginx");
    }
}

/* How long ago the youngest worker was started; -1 without a worker. */
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

void check_nginx_age(const char *configuration, const char *path)
{
    struct stat written;
    pid_t master = find_master(configuration);
    if (master == 0 || stat(path, &written) < 0) {
        return;
    }
    int64_t age = (int64_t)(time(NULL) - written.st_mtime) * 1000;
    if (age_of_workers(master) > age + CLOCK_SLACK_MS) {
        problem(
            "nginx has not read its configuration since the files that it includes were written.");
        remedy("nginx -t && %s", nginx_reload_command());
    }
}

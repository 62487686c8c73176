/*
 * nginx-sandbox check: looks at an installation from the settings to the daemons, and prints for
 * each problem what it is and what to do. It changes nothing.
 */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/user.h"
#include "launcher/base/subcommand.h"
#include "launcher/machine/check_daemons.h"
#include "launcher/machine/check_nginx.h"
#include "launcher/machine/commands.h"
#include "launcher/machine/installation.h"
#include "launcher/machine/problem.h"

#define SEARCH_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#define RENDER "nginx-sandbox render && nginx -t && %s" /* nginx_reload_command() */

/* ---- the settings ---- */

static void check_user(const struct sandbox *sandbox)
{
    const char *name = sandbox->name;
    cleanup_user struct user user = {0};
    char error[256];
    int found = user_find(sandbox->settings.user, &user, error, sizeof(error));
    const struct passwd *worker = user_worker_account();
    if (found < 0) {
        problem("%s: %s.", name, error);
        remedy("Correct SANDBOX_USER, or make the user.");
    } else if (found == 0) {
        problem("%s: commands run as root, which may do anything on this machine.", name);
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
        problem("%s was changed after nginx-sandbox render.", path);
        remedy(RENDER, nginx_reload_command());
    }
}

static void check_rendered(const char *etc, const struct site *site)
{
    char path[PATH_MAX];
    struct stat rendered;
    (void)snprintf(path, sizeof(path), "%s/nginx/http.conf", etc);
    if (stat(path, &rendered) < 0) {
        problem("The file that nginx includes is missing: %s: %s.", path, strerror(errno));
        remedy(RENDER, nginx_reload_command());
        return;
    }
    check_age(&rendered, etc, "nginx-sandbox", ".conf");
    check_age(&rendered, etc, "map", ".conf");
    for (size_t i = 0; i < site->count; i++) {
        check_age(&rendered, etc, site->sandboxes[i].name, ".conf");
        check_age(&rendered, etc, site->sandboxes[i].name, ".secret");
    }
}

/* ---- the machine ---- */

static void check_machine(void)
{
    struct statfs system;
    if (machine_has_systemd() &&
        (statfs("/sys/fs/cgroup", &system) < 0 || system.f_type != CGROUP2_SUPER_MAGIC)) {
        problem("This machine does not have cgroups of version 2 alone.");
        remedy("Start the kernel with systemd.unified_cgroup_hierarchy=1.");
    }
}

/* Checks the sandboxes of `etc`, for which `render` writes what nginx includes. */
static void check_installation(const char *etc, const char *state, const char *configuration)
{
    struct site site;
    char path[PATH_MAX];
    bool is_read = installation_read(&site, etc, state) == 0;
    if (!is_read) {
        problem("The settings cannot be used: the line on standard error says why.");
        remedy("Correct it, then: " RENDER, nginx_reload_command());
    }
    /* Without systemd the daemons have other settings. */
    for (size_t i = 0; is_read && machine_has_systemd() && i < site.count; i++) {
        check_user(&site.sandboxes[i]);
    }
    if (is_read) {
        check_rendered(etc, &site);
    }
    if (configuration != NULL) {
        (void)snprintf(path, sizeof(path), "%s/nginx/http.conf", etc);
        check_nginx_rendered(configuration, etc);
        check_nginx_itself(configuration);
        check_nginx_age(configuration, path);
    }
    /* The settings may be wrong: only the names are certain. */
    for (size_t i = 0; i < site.count; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", state, site.sandboxes[i].name);
        check_daemons(site.sandboxes[i].name, path);
    }
    installation_free(&site);
}

/* Checks servers that run by --without-nginx, whose own snippets nginx includes. */
static void check_servers(const struct included_servers *servers, const char *configuration)
{
    check_nginx_itself(configuration);
    for (size_t i = 0; i < servers->count; i++) {
        char path[PATH_MAX + 32];
        (void)snprintf(path, sizeof(path), "%s/nginx/snippets/http.conf", servers->run[i]);
        check_nginx_snippets(configuration, servers->run[i]);
        check_nginx_age(configuration, path);
        check_server(servers->run[i]);
    }
}

static void check_all(const char *etc, const char *state)
{
    static struct included_servers servers;
    char path[PATH_MAX];
    (void)setenv("PATH", SEARCH_PATH, 1);
    (void)snprintf(path, sizeof(path), "%s/nginx/http.conf", etc);
    check_machine();
    cleanup_free char *configuration = check_nginx_dump();
    if (configuration != NULL) {
        check_nginx_servers(configuration, etc, &servers);
    }
    if (servers.count > 0) {
        check_servers(&servers, configuration);
    }
    if (servers.count == 0 || check_nginx_reads(configuration, path)) {
        (void)fflush(stdout);
        check_installation(etc, state, configuration);
    }
}

int check_main(int count, char **arguments)
{
    struct subcommand_places places;
    if (subcommand_places(count, arguments, "es", &places) != count) {
        return SUBCOMMAND_MISUSED;
    }
    if (geteuid() != 0) {
        log_line("only root can see all that check looks at");
        return EXIT_FAILURE;
    }
    check_all(places.etc, places.state);
    if (problem_count > 0) {
        return EXIT_FAILURE;
    }
    (void)puts("Nothing is wrong.");
    return EXIT_SUCCESS;
}

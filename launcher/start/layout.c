/*
 * Each is first looked for beside this program, then where Debian has it.
 */
#include "launcher/start/layout.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/logger.h"

/* Joins the parts into `path` and says whether that can be accessed. */
static bool is_at(char path[PATH_MAX], int mode, const char *directory, const char *name)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", directory, name);
    return length < PATH_MAX && access(path, mode) == 0;
}

/* Fills in this program, links resolved, and its directory. */
static int find_own(struct layout *layout, char directory[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", layout->launcher, PATH_MAX - 1);
    if (length < 0) {
        return log_failure("/proc/self/exe: %m");
    }
    layout->launcher[length] = '\0';
    memcpy(directory, layout->launcher, (size_t)length + 1);
    *strrchr(directory, '/') = '\0';
    return 0;
}

/* Beside the directory `own`. Without "..": for that realpath(3) makes a system call that old
 * seccomp profiles refuse (faccessat2). */
static bool is_beside(char path[PATH_MAX], int mode, const char *own, const char *name)
{
    char parent[PATH_MAX];
    (void)snprintf(parent, sizeof(parent), "%s", own);
    char *slash = strrchr(parent, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    return is_at(path, mode, parent, name);
}

static int find_tree(const char *own, char tree[PATH_MAX])
{
    static const char *const places[] = {"share/nginx-sandbox/nginx", "nginx"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[PATH_MAX];
        char conf[PATH_MAX];
        if (is_beside(path, F_OK, own, places[i]) && is_at(conf, R_OK, path, "nginx.conf") &&
            realpath(path, tree) != NULL) {
            return 0;
        }
    }
    return log_failure("%s/../share/nginx-sandbox/nginx/nginx.conf is missing: run make install",
                       own);
}

static int find_daemon(const char *own, const char *name, char path[PATH_MAX])
{
    char installed[PATH_MAX];
    (void)snprintf(installed, sizeof(installed), "libexec/nginx-sandbox/%s", name);
    char found[PATH_MAX];
    if ((is_beside(found, X_OK, own, installed) || is_at(found, X_OK, own, name)) &&
        realpath(found, path) != NULL) {
        return 0;
    }
    return log_failure("%s/%s is missing: run make build", own, name);
}

/* In PATH, and where Debian has what an ordinary user's PATH leaves out. */
static int find_program(const char *name, char path[PATH_MAX])
{
    char directories[PATH_MAX];
    const char *set = getenv("PATH");
    (void)snprintf(directories, sizeof(directories), "%s:/usr/sbin:/usr/bin:/usr/local/sbin",
                   set == NULL ? "/bin" : set);
    char *rest = directories;
    for (char *directory; (directory = strsep(&rest, ":")) != NULL;) {
        if (directory[0] == '/' && is_at(path, X_OK, directory, name)) {
            return 0;
        }
    }
    return log_failure("%s is missing: install the package %s (make deps)", name,
                       strcmp(name, "nginx") == 0 ? "nginx" : "s6");
}

static int find_module(const char *name, const char *package, char path[PATH_MAX])
{
    static const char *const places[] = {"/usr/lib/nginx/modules", "/usr/lib64/nginx/modules",
                                         "/etc/nginx/modules"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (is_at(path, R_OK, places[i], name)) {
            return 0;
        }
    }
    return log_failure("%s/%s is missing: install the package %s (make deps)", places[0], name,
                       package);
}

int layout_find_tree(struct layout *layout)
{
    char own[PATH_MAX];
    return find_own(layout, own) < 0 ? -1 : find_tree(own, layout->tree);
}

int layout_find_http_js(struct layout *layout)
{
    return find_module("ngx_http_js_module.so", "libnginx-mod-http-js", layout->http_js_module);
}

int layout_find_daemons(struct layout *layout)
{
    char own[PATH_MAX];
    if (find_own(layout, own) < 0 || find_tree(own, layout->tree) < 0) {
        return -1;
    }
    for (int i = 0; i < DAEMON_COUNT; i++) {
        const struct daemon_entry *entry = &server_daemons[i];
        if (entry->is_ours && find_daemon(own, entry->name, layout->daemons[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

int layout_find(struct layout *layout, bool with_nginx)
{
    if (layout_find_daemons(layout) < 0 || find_program("s6-svscan", layout->s6_svscan) < 0) {
        return -1;
    }
    if (!with_nginx) {
        return 0;
    }
    if (find_program("nginx", layout->daemons[DAEMON_NGINX]) < 0 ||
        find_module("ngx_stream_module.so", "libnginx-mod-stream", layout->stream_module) < 0 ||
        find_module("ngx_stream_js_module.so", "libnginx-mod-stream-js", layout->stream_js_module) <
            0) {
        return -1;
    }
    return 0;
}

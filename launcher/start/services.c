#include "launcher/start/services.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "launcher/base/file.h"

static int services_fail(const char *path)
{
    return log_failure("%s: %m", path);
}

/* RUN/service/`service`/: one link for each file of tree/service/`service`/. */
static int link_service(const struct run_dir *run, const struct layout *layout, const char *service)
{
    char source[PATH_MAX + 100];
    char target[100];
    (void)snprintf(source, sizeof(source), "%s/service/%s", layout->tree, service);
    (void)snprintf(target, sizeof(target), "service/%s", service);
    if (file_make_dir(run->fd, target, 0755) < 0) {
        return services_fail(target);
    }
    cleanup_directory DIR *entries = opendir(source);
    if (entries == NULL) {
        return services_fail(source);
    }
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        char from[PATH_MAX + 400];
        char to[400];
        (void)snprintf(from, sizeof(from), "%s/%s", source, name);
        (void)snprintf(to, sizeof(to), "%s/%s", target, name);
        if (name[0] != '.' && symlinkat(from, run->fd, to) < 0) {
            return services_fail(to);
        }
    }
    return errno == 0 ? 0 : services_fail(source);
}

static int link_program(const struct run_dir *run, const char *name, const char *path)
{
    char link[100];
    (void)snprintf(link, sizeof(link), "bin/%s", name);
    return symlinkat(path, run->fd, link) < 0 ? services_fail(link) : 0;
}

int services_link(const struct run_dir *run, const struct layout *layout, const char *cwd,
                  bool with_nginx, bool with_claim)
{
    for (int i = 0; i < DAEMON_COUNT; i++) {
        const struct daemon_entry *entry = &server_daemons[i];
        if ((entry->is_ours || with_nginx) &&
            (link_service(run, layout, entry->name) < 0 ||
             link_program(run, entry->name, layout->daemons[i]) < 0)) {
            return -1;
        }
    }
    if (link_service(run, layout, ".s6-svscan") < 0 ||
        (with_claim && link_service(run, layout, "claim") < 0) ||
        link_program(run, "s6-svscan", layout->s6_svscan) < 0 ||
        link_program(run, "nginx-sandbox", layout->launcher) < 0) {
        return -1;
    }
    cleanup_free char *directory = cwd == NULL ? getcwd(NULL, 0) : strdup(cwd);
    if (directory == NULL) {
        return services_fail("the working directory");
    }
    return symlinkat(directory, run->fd, RUN_CWD) < 0 ? services_fail(run->path) : 0;
}

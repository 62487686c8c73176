/*
 * Linking the service directories.
 */
#include "launcher/start/services.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "launcher/base/file.h"

static int fail(const char *path)
{
    return log_failure("%s: %m", path);
}

/* RUN/service/`name`/: one link for each file of tree/service/`name`/. */
static int link_service(const struct run_dir *run, const struct layout *layout, const char *name)
{
    char source[PATH_MAX + 100];
    char target[100];
    (void)snprintf(source, sizeof(source), "%s/service/%s", layout->tree, name);
    (void)snprintf(target, sizeof(target), "service/%s", name);
    if (file_make_dir(run->fd, target, 0755) < 0) {
        return fail(target);
    }
    struct dirent **entries = NULL;
    int count = scandir(source, &entries, NULL, alphasort);
    if (count < 0) {
        return fail(source);
    }
    int result = 0;
    for (int i = 0; i < count; i++) {
        char from[PATH_MAX + 400];
        char to[400];
        (void)snprintf(from, sizeof(from), "%s/%s", source, entries[i]->d_name);
        (void)snprintf(to, sizeof(to), "%s/%s", target, entries[i]->d_name);
        if (result == 0 && entries[i]->d_name[0] != '.' && symlinkat(from, run->fd, to) < 0) {
            result = fail(to);
        }
        free(entries[i]);
    }
    free(entries);
    return result;
}

int services_link(const struct run_dir *run, const struct layout *layout, const char *cwd,
                  bool with_nginx, bool with_claim)
{
    if (link_service(run, layout, ".s6-svscan") < 0 || link_service(run, layout, "procd") < 0 ||
        link_service(run, layout, "fcgi-app") < 0 || link_service(run, layout, "guard") < 0 ||
        (with_nginx && link_service(run, layout, "nginx") < 0) ||
        (with_claim && link_service(run, layout, "claim") < 0)) {
        return -1;
    }
    cleanup_free char *directory = cwd == NULL ? getcwd(NULL, 0) : strdup(cwd);
    if (directory == NULL) {
        return fail("the working directory");
    }
    if (symlinkat(layout->fcgi_app, run->fd, "bin/fcgi-app") < 0 ||
        symlinkat(layout->procd, run->fd, "bin/procd") < 0 ||
        symlinkat(layout->guard, run->fd, "bin/guard") < 0 ||
        symlinkat(layout->s6_svscan, run->fd, "bin/s6-svscan") < 0 ||
        (with_nginx && symlinkat(layout->nginx, run->fd, "bin/nginx") < 0) ||
        ((with_nginx || with_claim) &&
         symlinkat(layout->launcher, run->fd, "bin/nginx-sandbox") < 0) ||
        symlinkat(directory, run->fd, RUN_CWD) < 0) {
        return fail(run->path);
    }
    return 0;
}

/*
 * The files go into a directory beside ETC/nginx, which then takes its place.
 */
#include "launcher/machine/render_command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/logger.h"
#include "launcher/base/file.h"
#include "launcher/base/subcommand.h"
#include "launcher/machine/commands.h"
#include "launcher/machine/installation.h"
#include "launcher/render/render.h"
#include "launcher/start/layout.h"
#include "launcher/start/run_dir.h"

/* In ETC: the directory that nginx includes, and the one that is to take its place. */
#define TARGET "nginx"
#define STAGE  ".nginx.new"

/* nginx must find it from any working directory, and read every character as it is. */
static int check_path(const char *option, const char *path)
{
    if (path[0] == '/' && run_dir_is_plain_path(path) && strlen(path) < PATH_MAX - NAME_MAX) {
        return 0;
    }
    return log_failure("%s must be an absolute path of plain characters", option);
}

static int stage_fail(const char *etc, const char *name)
{
    return log_failure("%s/%s: %m", etc, name);
}

/* Removes the stage, if it is there. */
static int stage_remove(int directory)
{
    cleanup_fd int stage =
        openat(directory, STAGE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (stage < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    return directory_empty(stage) < 0 ? -1 : unlinkat(directory, STAGE, AT_REMOVEDIR);
}

/* The four files that the operator's nginx includes. */
static int write_entrances(int stage, const char *path)
{
    static const char *const names[] = {"http.conf", "server.conf", "ports.conf", "stream.conf"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char line[PATH_MAX + 100];
        int length = snprintf(line, sizeof(line), "include %s/snippets/%s;\n", path, names[i]);
        if (file_write(stage, names[i], 0644, line, (size_t)length) < 0) {
            return stage_fail(path, names[i]);
        }
    }
    return 0;
}

/* Fills the stage with files that contain ETC/nginx as their path. */
static int stage_fill(int stage, const struct site *site, const char *etc)
{
    static struct layout layout;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/" TARGET, etc);
    const struct rendering rendering = {
        .directory = stage, .path = path, .layout = &layout, .site = site, .may_have_tls = true};
    if (layout_find_tree(&layout) < 0 || layout_find_http_js(&layout) < 0 ||
        render_snippets(&rendering) < 0) {
        return -1;
    }
    return write_entrances(stage, path);
}

/* Exchanges the stage and ETC/nginx in one step, so that a start of nginx always finds one of them.
 * The files are on the disk before: a crash might leave empty ones otherwise. */
static int stage_take_place(int directory, int stage)
{
    if (syncfs(stage) < 0) {
        return -1;
    }
    if (renameat2(directory, STAGE, directory, TARGET, RENAME_EXCHANGE) == 0) {
        return 0;
    }
    return errno == ENOENT ? renameat2(directory, STAGE, directory, TARGET, RENAME_NOREPLACE) : -1;
}

static int write_all(int directory, const struct site *site, const char *etc)
{
    if (stage_remove(directory) < 0 || file_make_dir(directory, STAGE, 0755) < 0) {
        return stage_fail(etc, STAGE);
    }
    cleanup_fd int stage = openat(directory, STAGE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = -1;
    if (stage < 0) {
        (void)stage_fail(etc, STAGE);
    } else if (stage_fill(stage, site, etc) == 0) {
        result = stage_take_place(directory, stage);
        if (result < 0) {
            (void)stage_fail(etc, TARGET);
        }
    }
    if (stage_remove(directory) < 0) {
        (void)stage_fail(etc, STAGE);
    }
    return result;
}

int render_installation(int directory, const char *etc, const char *state)
{
    struct site site;
    if (check_path("--etc", etc) < 0 || check_path("--state", state) < 0) {
        return -1;
    }
    int result = installation_read(&site, etc, state);
    if (result == 0) {
        result = write_all(directory, &site, etc);
    }
    installation_free(&site);
    return result;
}

int render_main(int argc, char **argv)
{
    struct subcommand_places places;
    if (subcommand_places(argc, argv, "es", &places) != argc) {
        return SUBCOMMAND_MISUSED;
    }
    cleanup_fd int directory = open(places.etc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        log_line("%s: %m", places.etc);
        return 1;
    }
    cleanup_fd int lock = installation_lock(directory, places.etc);
    return lock >= 0 && render_installation(directory, places.etc, places.state) == 0 ? 0 : 1;
}

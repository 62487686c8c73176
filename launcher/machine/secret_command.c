/*
 * nginx-sandbox secret init|rotate|retire [NAME]: changes the file of a sandbox's secrets, one a
 * line. The first is the current one; the others are former ones, which are still valid. nginx
 * knows only digests of them, so each change is rendered, and nginx, if it runs and takes the
 * result, reloads.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "launcher/base/file.h"
#include "launcher/base/program.h"
#include "launcher/base/subcommand.h"
#include "launcher/machine/commands.h"
#include "launcher/machine/installation.h"
#include "launcher/machine/render_command.h"
#include "launcher/secrets/secret.h"

#define FILE_MOST ((size_t)64 * 1024)

struct secret_file {
    const char *etc;
    const char *state;
    const char *sandbox;
    char name[SANDBOX_NAME_MOST + 16]; /* in `etc` */
    int directory;                     /* that is `etc` */
    int lock;                          /* of `etc`, until nginx is asked to reload */
    char *content;                     /* NULL: there is no such file */
};

static int secret_file_fail(const struct secret_file *file)
{
    return log_failure("%s/%s: %s", file->etc, file->name, file_reason(errno));
}

/* ---- the file ---- */

/* Replaces the file in one step: for root alone, and on the disk. */
static int secret_file_replace(const struct secret_file *file, const char *content)
{
    char draft[sizeof(file->name) + sizeof(".new")];
    (void)snprintf(draft, sizeof(draft), "%s.new", file->name);
    if ((unlinkat(file->directory, draft, 0) < 0 && errno != ENOENT) ||
        file_write(file->directory, draft, 0600, content, strlen(content)) < 0 ||
        renameat(file->directory, draft, file->directory, file->name) < 0 ||
        syncfs(file->directory) < 0) {
        (void)secret_file_fail(file);
        (void)unlinkat(file->directory, draft, 0);
        return -1;
    }
    return 0;
}

/* The length of the first line with its newline, which the last one may lack. */
static size_t first_line(const char *content)
{
    size_t length = strcspn(content, "\n");
    return content[length] == '\n' ? length + 1 : length;
}

/* ---- what the file becomes: a text that the caller frees, or NULL with a line ---- */

static char *with_new_secret(const struct secret_file *file)
{
    char fresh[SECRET_MADE];
    char *content = NULL;
    const char *current = file->content == NULL ? "" : secret_first_line(file->content);
    if (secret_make(fresh) < 0) {
        return NULL;
    }
    if (asprintf(&content, "%s\n%.*s", fresh, (int)first_line(current), current) < 0) {
        content = NULL;
        log_line("secret: %m");
    }
    explicit_bzero(fresh, sizeof(fresh));
    return content;
}

static char *with_current_alone(const struct secret_file *file)
{
    const char *current = secret_first_line(file->content);
    char *content = strndup(current, first_line(current));
    if (content == NULL) {
        log_line("secret: %m");
    }
    return content;
}

/* ---- nginx ---- */

/* 1 when nginx has reloaded, 0 when it does not run, -1 after a line. */
static int reload(void)
{
    char words[4096];
    if (!program_unit_is("is-active", "nginx")) {
        return 0;
    }
    if (program_run(words, sizeof(words), "nginx", "-t", "-q") != 0) {
        (void)fputs(words, stderr);
        return log_failure("nginx does not take its new configuration and keeps the current one");
    }
    if (program_run(words, sizeof(words), "systemctl", "reload", "nginx") != 0) {
        (void)fputs(words, stderr);
        return log_failure("nginx did not reload and keeps its current configuration");
    }
    return 1;
}

/* Replaces the content, or restores it when it cannot be rendered. 1, 0 or -1 as reload(). */
static int change(struct secret_file *file, const char *content)
{
    if (secret_file_replace(file, content) < 0) {
        return -1;
    }
    if (render_installation(file->directory, file->etc, file->state) < 0) {
        if (file->content != NULL) {
            (void)secret_file_replace(file, file->content);
        } else {
            (void)unlinkat(file->directory, file->name, 0);
        }
        return log_failure("the secrets of %s are unchanged", file->sandbox);
    }
    close_fd(&file->lock); /* `render` may be a part of the reload */
    /* Which nginx includes another directory is unknown. */
    return strcmp(file->etc, DEFAULT_ETC) == 0 ? reload() : 0;
}

static const char *when(int reloaded)
{
    return reloaded > 0 ? "as of now" : "once nginx has read its configuration again";
}

/* ---- the actions ---- */

static int init(struct secret_file *file)
{
    if (file->content != NULL) {
        return 0;
    }
    cleanup_(secret_forget) char *content = with_new_secret(file);
    return content == NULL ? -1 : secret_file_replace(file, content);
}

static int rotate(struct secret_file *file)
{
    cleanup_(secret_forget) char *content = with_new_secret(file);
    int result = content == NULL ? -1 : change(file, content);
    if (result >= 0) {
        (void)printf("The new secret of %s is the first line of %s/%s, and valid %s.\n",
                     file->sandbox, file->etc, file->name, when(result));
        if (file->content != NULL && *secret_first_line(file->content) != '\0') {
            (void)printf("The former one stays valid until: nginx-sandbox secret retire %s\n",
                         file->sandbox);
        }
    }
    return result;
}

static int retire(struct secret_file *file)
{
    if (file->content == NULL) {
        errno = ENOENT;
        return secret_file_fail(file);
    }
    cleanup_(secret_forget) char *content = with_current_alone(file);
    int result = content == NULL ? -1 : change(file, content);
    if (result >= 0) {
        (void)printf("Only the current secret of %s is valid, %s.\n", file->sandbox, when(result));
    }
    return result;
}

static const struct {
    const char *name;
    int (*run)(struct secret_file *file);
} actions[] = {{"init", init}, {"rotate", rotate}, {"retire", retire}};

static int act(int (*run)(struct secret_file *file), struct secret_file *file)
{
    cleanup_fd int directory = open(file->etc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        return log_failure("%s: %m", file->etc);
    }
    file->lock = installation_lock(directory, file->etc);
    if (file->lock < 0) {
        return -1;
    }
    file->directory = directory;
    (void)snprintf(file->name, sizeof(file->name), "%s.secret", file->sandbox);
    file->content = file_read(directory, file->name, FILE_MOST);
    int result = file->content == NULL && errno != ENOENT ? secret_file_fail(file) : run(file);
    secret_forget(&file->content);
    close_fd(&file->lock);
    return result;
}

int secret_main(int count, char **arguments)
{
    struct subcommand_places places;
    int first = subcommand_places(count, arguments, "es", &places);
    int left = first == 0 ? 0 : count - first;
    struct secret_file file = {
        .etc = places.etc, .state = places.state, .sandbox = DEFAULT_SANDBOX, .directory = -1};
    if (left == 2) {
        file.sandbox = arguments[first + 1];
    }
    for (size_t i = 0; (left == 1 || left == 2) && i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(arguments[first], actions[i].name) == 0) {
            return installation_check_name(file.sandbox) && act(actions[i].run, &file) >= 0
                       ? EXIT_SUCCESS
                       : EXIT_FAILURE;
        }
    }
    return SUBCOMMAND_MISUSED;
}

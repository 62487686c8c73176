/*
 * nginx-sandbox status [NAME...]: prints what the procd of each sandbox reports of its daemons and
 * jobs.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/daemons.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "launcher/base/program.h"
#include "launcher/base/subcommand.h"
#include "launcher/machine/commands.h"
#include "launcher/machine/installation.h"
#include "launcher/machine/problem.h"
#include "procd/wire/client.h"

#define ANSWER_TIMEOUT_MS 2000

#define EXIT_NOT_RUNNING 3 /* as systemctl(1) */

static const char *state;

static void print_daemon(const struct procd_status *status, const char *name)
{
    for (size_t i = 0; i < status->daemon_count; i++) {
        const struct daemon_status *daemon = &status->daemons[i];
        if (strcmp(daemon->name, name) == 0 && daemon->pid > 0) {
            (void)printf("  %-9s pid %lld, restarts %lld, descriptors %lld, memory %lld KiB\n",
                         name, (long long)daemon->pid, (long long)daemon->restarts,
                         (long long)daemon->descriptors, (long long)daemon->rss_kb);
            return;
        }
    }
    (void)printf("  %-9s is not running\n", name);
}

/* A process is a client of one procd for its whole life: each sandbox is asked by a child. */
static int print_sandbox(const void *argument)
{
    const char *name = argument;
    char path[PATH_MAX];
    struct procd_status status;
    (void)snprintf(path, sizeof(path), "%s/%s/" RUN_PROCD_SOCKET, state, name);
    if (procd_client_init(path) < 0) {
        const char *hint =
            machine_has_systemd() ? "does not run (systemctl start it)" : "does not run";
        (void)printf("%s: %s\n", name, errno == ENOENT ? hint : strerror(errno));
        return EXIT_NOT_RUNNING;
    }
    if (procd_status(&status, ANSWER_TIMEOUT_MS) != PROCD_DONE) {
        (void)printf("%s: procd does not answer\n", name);
        return EXIT_NOT_RUNNING;
    }
    (void)printf("%s: running\n", name);
    for (int i = 0; i < DAEMON_COUNT; i++) {
        if (server_daemons[i].is_ours) {
            print_daemon(&status, server_daemons[i].name);
        }
    }
    (void)printf("  jobs      %lld running; runners %lld, of which %lld wait for a command\n",
                 (long long)status.running, (long long)status.runners,
                 (long long)status.idle_runners);
    (void)printf("  disk      %lld of %lld MiB free\n", (long long)(status.disk_free >> 20),
                 (long long)(status.disk_total >> 20));
    return EXIT_SUCCESS;
}

/* The exit status, the worse of this and `before`. */
static int status_ask(const char *name, int before)
{
    int status = program_call(print_sandbox, name);
    if (status < 0) {
        log_line("%s: cannot ask: %m", name);
        return EXIT_FAILURE;
    }
    return status > before ? status : before;
}

static int is_sandbox(const struct dirent *entry)
{
    return installation_is_name(entry->d_name);
}

static int status_ask_all(void)
{
    struct dirent **entries = NULL;
    int result = EXIT_SUCCESS;
    int count = scandir(state, &entries, is_sandbox, alphasort);
    if (count < 0) {
        log_line("%s: %m", state);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < count; i++) {
        result = status_ask(entries[i]->d_name, result);
        free(entries[i]);
    }
    free(entries);
    if (count == 0) {
        (void)puts("No sandbox has been started.");
        return EXIT_NOT_RUNNING;
    }
    return result;
}

int status_main(int count, char **arguments)
{
    struct subcommand_places places;
    int first = subcommand_places(count, arguments, "s", &places);
    int result = EXIT_SUCCESS;
    if (first == 0) {
        return SUBCOMMAND_MISUSED;
    }
    state = places.state;
    if (first == count) {
        return status_ask_all();
    }
    for (int i = first; i < count; i++) {
        if (!installation_check_name(arguments[i])) {
            return SUBCOMMAND_USAGE;
        }
        result = status_ask(arguments[i], result);
    }
    return result;
}

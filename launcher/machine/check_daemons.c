#include "launcher/machine/check_daemons.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/run_files.h"
#include "launcher/base/program.h"
#include "launcher/machine/problem.h"
#include "procd/wire/client.h"

#define ANSWER_TIMEOUT_MS 2000

/* A bit for each daemon that runs, as procd says; 0 without an answer. */
static int ask_daemons(const void *path)
{
    struct procd_status status;
    int running = 0;
    if (procd_client_init(path) < 0 || procd_status(&status, ANSWER_TIMEOUT_MS) != PROCD_DONE) {
        return 0;
    }
    for (size_t i = 0; i < status.daemon_count; i++) {
        for (int j = 0; j < DAEMON_COUNT; j++) {
            bool is_it = strcmp(status.daemons[i].name, server_daemons[j].name) == 0;
            running |= is_it && status.daemons[i].pid > 0 ? 1 << j : 0;
        }
    }
    return running | 1 << DAEMON_PROCD; /* it has answered */
}

/* A process is a client of one procd for its whole life: so a child asks. */
static int running_daemons(const char *run)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/" RUN_PROCD_SOCKET, run);
    int running = program_call(ask_daemons, path);
    return running < 0 ? 0 : running;
}

/* `running` is 0 if no daemon runs. */
static void report_missing(const char *name, const char *run, int running)
{
    if (running == 0) {
        problem("%s: does not run, or procd does not answer.", name);
        remedy("SANDBOX_RUN_DIR=%s nginx-sandbox --without-nginx, with its other settings", run);
        return;
    }
    for (int i = 0; i < DAEMON_COUNT; i++) {
        if (server_daemons[i].is_ours && (running & 1 << i) == 0) {
            problem("%s: %s does not run.", name, server_daemons[i].name);
            remedy("s6-svc -u %s/service/%s", run, server_daemons[i].name);
        }
    }
}

void check_server(const char *run)
{
    report_missing(run, run, running_daemons(run));
}

/* Whether the unit runs. If not, reports a problem that begins with `subject`. */
static bool check_unit(const char *subject, const char *unit)
{
    bool is_active = program_unit_is("is-active", unit);
    if (!is_active) {
        problem("%s does not run.", subject);
        remedy("systemctl start %s; journalctl -e -u %s", unit, unit);
    }
    return is_active;
}

/* The daemons' units, which the unit of the sandbox starts. */
static void check_units(const char *name, const char *run)
{
    for (int i = 0; i < DAEMON_COUNT; i++) {
        char unit[128];
        char subject[128];
        (void)snprintf(unit, sizeof(unit), "nginx-sandbox-%s@%s.service", server_daemons[i].name,
                       name);
        (void)snprintf(subject, sizeof(subject), "%s: %s", name, server_daemons[i].name);
        if (server_daemons[i].is_ours) {
            (void)check_unit(subject, unit);
        }
    }
    if (running_daemons(run) == 0) {
        problem("%s: procd does not answer.", name);
        remedy("systemctl restart nginx-sandbox-procd@%s", name);
    }
}

void check_daemons(const char *name, const char *run)
{
    char whole[128];
    char subject[64];
    (void)snprintf(whole, sizeof(whole), "nginx-sandbox@%s.service", name);
    bool by_systemd = machine_has_systemd() && program_unit_is("is-active", whole);
    int running = by_systemd ? 0 : running_daemons(run);
    if (!machine_has_systemd() || running != 0) {
        report_missing(name, run, running);
        return;
    }
    if (!program_unit_is("is-enabled", whole)) {
        problem("%s: is not started at boot.", name);
        remedy("systemctl enable %s", whole);
    }
    (void)snprintf(subject, sizeof(subject), "%s:", name);
    if (check_unit(subject, whole)) {
        check_units(name, run);
    }
}

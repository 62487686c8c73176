/*
 * The table of subcommands.
 */
#include "nginx/launcher/subcommand.h"

#include <stdio.h>
#include <string.h>

#include "common/logger.h"
#include "nginx/launcher/claim_service.h"
#include "nginx/launcher/installation.h"
#include "nginx/launcher/render_command.h"

static const struct {
    const char *name;
    int (*run)(int count, char **arguments);
    const char *arguments;
    const char *meaning;
} subcommands[] = {
    {"render", render_command, "", "write what nginx includes, /etc/nginx-sandbox/nginx"},
    {"check", check_main, "", "say in plain words what is wrong with the installation"},
    {"status", status_main, "[NAME...]", "the daemons and jobs of the sandboxes"},
    {"secret", secret_main, "init|rotate|retire [NAME]", "make, replace, or end the former secret"},
    {"claim", claim_service, "-r RUN", "claims a sandbox of a pool (a service of the server)"},
    {"hold", hold_main, "NAME", "lay out a run directory and keep it (what its unit does)"},
};

#define COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

bool subcommand_check_name(const char *name)
{
    bool is_good = installation_is_name(name);
    if (!is_good) {
        log_line("%s is no name of a sandbox: that has a-z, 0-9 and -, at most %d", name,
                 SANDBOX_NAME_MOST);
    }
    return is_good;
}

int subcommand_run(int count, char **arguments)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(arguments[0], subcommands[i].name) == 0) {
            return subcommands[i].run(count, arguments);
        }
    }
    (void)fprintf(stderr, "usage: nginx-sandbox SUBCOMMAND, of which %s is none:\n", arguments[0]);
    for (size_t i = 0; i < COUNT; i++) {
        (void)fprintf(stderr, "  %-8s %-26s %s\n", subcommands[i].name, subcommands[i].arguments,
                      subcommands[i].meaning);
    }
    return SUBCOMMAND_USAGE;
}

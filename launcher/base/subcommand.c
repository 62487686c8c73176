/*
 * The table of subcommands.
 */
#include "launcher/base/subcommand.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/logger.h"
#include "launcher/machine/installation.h"
#include "launcher/machine/render_command.h"
#include "launcher/pool/claim_service.h"
#include "launcher/start/nginx_service.h"
#include "launcher/supervise/supervise.h"

#define ETC   "[--etc DIRECTORY] "
#define STATE "[--state DIRECTORY] "

static const struct {
    const char *name;
    int (*run)(int count, char **arguments);
    const char *arguments;
    const char *meaning;
} subcommands[] = {
    {"render", render_command, ETC STATE, "write what nginx includes, ETC/nginx"},
    {"check", check_main, ETC STATE, "say in plain words what is wrong with the installation"},
    {"status", status_main, STATE "[NAME...]", "the daemons and jobs of the sandboxes"},
    {"secret", secret_main, ETC STATE "init|rotate|retire [NAME]",
     "make, replace, or end the former secret"},
    {"claim", claim_service, "-r RUN", "claims a sandbox of a pool (a service of the server)"},
    {"nginx", nginx_service, "-r RUN", "runs nginx on inherited sockets (a service of the server)"},
    {"supervise", supervise_main, "-r RUN [-n] [-- CMD [ARG...]]",
     "what the server becomes once it is laid out"},
    {"hold", hold_main, STATE "NAME", "lay out a run directory and keep it (what its unit does)"},
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

int subcommand_places(int count, char **arguments, const char *known,
                      struct subcommand_places *places)
{
    static const struct option options[] = {
        {"etc", required_argument, NULL, 'e'}, {"state", required_argument, NULL, 's'}, {0}};
    *places = (struct subcommand_places){.etc = DEFAULT_ETC, .state = DEFAULT_STATE};
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;) {
        if (strchr(known, option) == NULL) {
            return 0;
        }
        *(option == 'e' ? &places->etc : &places->state) = optarg;
    }
    return optind;
}

/* COUNT for none. */
static size_t find(const char *name)
{
    size_t i = 0;
    while (i < COUNT && strcmp(name, subcommands[i].name) != 0) {
        i++;
    }
    return i;
}

static void print_usage(FILE *out, const char *name)
{
    size_t i = find(name);
    (void)fprintf(out, "usage: nginx-sandbox %s %s\n  %s\n", name, subcommands[i].arguments,
                  subcommands[i].meaning);
}

int subcommand_misused(const char *name)
{
    print_usage(stderr, name);
    return SUBCOMMAND_USAGE;
}

void subcommand_list(FILE *out)
{
    for (size_t i = 0; i < COUNT; i++) {
        (void)fprintf(out, "  %-9s %s\n", subcommands[i].name, subcommands[i].meaning);
    }
}

int subcommand_run(int count, char **arguments)
{
    size_t i = find(arguments[0]);
    if (i == COUNT) {
        (void)fprintf(stderr,
                      "nginx-sandbox: unknown subcommand: %s\n"
                      "To run a command beside the server: nginx-sandbox -- COMMAND [ARGUMENT...]\n"
                      "Subcommands:\n",
                      arguments[0]);
        subcommand_list(stderr);
        return SUBCOMMAND_USAGE;
    }
    if (count == 2 && (strcmp(arguments[1], "--help") == 0 || strcmp(arguments[1], "-h") == 0)) {
        print_usage(stdout, arguments[0]);
        return 0;
    }
    return subcommands[i].run(count, arguments);
}

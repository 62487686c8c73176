#include "launcher/subcommands.h"

#include <stdbool.h>
#include <string.h>

#include "launcher/base/subcommand.h"
#include "launcher/machine/commands.h"
#include "launcher/pool/claim_service.h"
#include "launcher/start/nginx_service.h"
#include "launcher/supervise/supervise.h"

#define ETC   "[--etc DIRECTORY] "
#define STATE "[--state DIRECTORY] "

static const struct subcommand {
    const char *name;
    int (*run)(int count, char **arguments); /* an exit status, or SUBCOMMAND_MISUSED */
    const char *arguments;
    const char *meaning;
    bool is_internal; /* only our own services and units call it */
} subcommands[] = {
    {"render", render_main, ETC STATE, "write what nginx includes, ETC/nginx", false},
    {"check", check_main, ETC STATE, "report what is wrong with the installation", false},
    {"status", status_main, STATE "[NAME...]", "the daemons and jobs of the sandboxes", false},
    {"secret", secret_main, ETC STATE "init|rotate|retire [NAME]",
     "make, replace, or end the former secret", false},
    {"claim", claim_service, "-r RUN", "give a sandbox of a pool to its first token", true},
    {"nginx", nginx_service, "-r RUN", "run nginx on inherited sockets", true},
    {"supervise", supervise_main, "-r RUN [-n] [-- CMD [ARG...]]",
     "run the services of a server that is laid out", true},
    {"hold", hold_main, STATE "NAME", "lay out a run directory and keep it", true},
};

#define COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

static void print_subcommand(FILE *out, const struct subcommand *subcommand)
{
    (void)fprintf(out, "usage: nginx-sandbox %s %s\n  %s\n", subcommand->name,
                  subcommand->arguments, subcommand->meaning);
}

void subcommands_list(FILE *out)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (!subcommands[i].is_internal) {
            (void)fprintf(out, "  %-9s %s\n", subcommands[i].name, subcommands[i].meaning);
        }
    }
}

static int refuse_unknown(const char *name)
{
    (void)fprintf(stderr,
                  "nginx-sandbox: unknown subcommand: %s\n"
                  "To run a command beside the server: nginx-sandbox -- COMMAND [ARGUMENT...]\n"
                  "Subcommands:\n",
                  name);
    subcommands_list(stderr);
    return SUBCOMMAND_USAGE;
}

int subcommands_run(int count, char **arguments)
{
    size_t i = 0;
    while (i < COUNT && strcmp(arguments[0], subcommands[i].name) != 0) {
        i++;
    }
    if (i == COUNT) {
        return refuse_unknown(arguments[0]);
    }
    if (count == 2 && (strcmp(arguments[1], "--help") == 0 || strcmp(arguments[1], "-h") == 0)) {
        print_subcommand(stdout, &subcommands[i]);
        return 0;
    }
    int result = subcommands[i].run(count, arguments);
    if (result != SUBCOMMAND_MISUSED) {
        return result;
    }
    print_subcommand(stderr, &subcommands[i]);
    return SUBCOMMAND_USAGE;
}

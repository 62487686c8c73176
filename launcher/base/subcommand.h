/*
 * What all subcommands of nginx-sandbox share: their exit statuses and their common options.
 */
#pragma once

/* The exit status for a wrong command line. */
#define SUBCOMMAND_USAGE 2

/* What a subcommand returns instead of an exit status when its command line is wrong: the caller
 * prints how it is used, and exits with SUBCOMMAND_USAGE. */
#define SUBCOMMAND_MISUSED (-1)

/* Where a package has the settings and the run directories. */
#define DEFAULT_ETC   "/etc/nginx-sandbox"
#define DEFAULT_STATE "/var/lib/nginx-sandbox"

/* The sandbox that is meant where none is named. */
#define DEFAULT_SANDBOX "default"

/* Where they are for this call. Borrowed from the arguments. */
struct subcommand_places {
    const char *etc;
    const char *state;
};

/*
 * Reads --etc and --state, or only the one whose first letter is in `known`. Returns the index of
 * the first argument that is no option; 0 when there is another option.
 */
int subcommand_places(int count, char **arguments, const char *known,
                      struct subcommand_places *places);

/*
 * The subcommands of nginx-sandbox, most of them for a machine where the package has made it a
 * service among others. Each is a file of its own, and an entry of the manual nginx-sandbox(8);
 * render, claim, nginx and supervise have headers, too.
 */
#ifndef LAUNCHER_BASE_SUBCOMMAND_H
#define LAUNCHER_BASE_SUBCOMMAND_H

#include <stdbool.h>
#include <stdio.h>

/* The exit status for a wrong command line. */
#define SUBCOMMAND_USAGE 2

/* Runs the subcommand arguments[0], or tells of it (--help); returns the exit status. */
int subcommand_run(int count, char **arguments);

/* Lists them. */
void subcommand_list(FILE *out);

/* Tells how the subcommand is used, on standard error. Returns SUBCOMMAND_USAGE. */
int subcommand_misused(const char *name);

/* Where the settings and the run directories are. Borrowed from the arguments. */
struct subcommand_places {
    const char *etc;
    const char *state;
};

/*
 * Reads --etc and --state, or only the one whose first letter is in `known`. The index of the first
 * argument that is no option; 0 when there is another option.
 */
int subcommand_places(int count, char **arguments, const char *known,
                      struct subcommand_places *places);

/* Whether a sandbox may be called so; otherwise false after a line. */
bool subcommand_check_name(const char *name);

/* Each gets its own name as arguments[0] and returns the exit status. */
int check_main(int count, char **arguments);
int hold_main(int count, char **arguments);
int secret_main(int count, char **arguments);
int status_main(int count, char **arguments);

#endif

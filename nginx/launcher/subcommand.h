/*
 * The subcommands of nginx-sandbox, most of them for a machine where the package has made it a
 * service among others. Each is a file of its own, and an entry of the manual nginx-sandbox(8);
 * render and claim have headers, too.
 */
#ifndef LAUNCHER_SUBCOMMAND_H
#define LAUNCHER_SUBCOMMAND_H

#include <stdbool.h>

/* The exit status for a wrong command line. */
#define SUBCOMMAND_USAGE 2

/* Runs the subcommand arguments[0]; returns the exit status. */
int subcommand_run(int count, char **arguments);

/* Whether a sandbox may be called so; otherwise false after a line. */
bool subcommand_check_name(const char *name);

/* Each gets its own name as arguments[0] and returns the exit status. */
int check_main(int count, char **arguments);
int hold_main(int count, char **arguments);
int secret_main(int count, char **arguments);
int status_main(int count, char **arguments);

#endif

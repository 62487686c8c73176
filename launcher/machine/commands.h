/*
 * The subcommands for a machine whose nginx serves the sandboxes of an installation
 * (launcher/machine/installation.h). Each gets its own name as arguments[0] and returns an exit
 * status, or SUBCOMMAND_MISUSED for a wrong command line. What goes wrong is a line on standard
 * error.
 */
#pragma once

int check_main(int count, char **arguments);
int hold_main(int count, char **arguments);

/* On an error ETC/nginx stays as it was. */
int render_main(int count, char **arguments);

int secret_main(int count, char **arguments);
int status_main(int count, char **arguments);

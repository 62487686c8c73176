/*
 * The subcommands of nginx-sandbox. Operators use render, check, status and secret on a machine
 * whose nginx serves several sandboxes (nginx-sandbox(8)). The server's own services and units call
 * the others, which --help does not list.
 */
#pragma once

#include <stdio.h>

/* Runs the subcommand arguments[0], or prints how it is used (--help). Returns the exit status. */
int subcommands_run(int count, char **arguments);

/* Prints a line for each subcommand that an operator uses. */
void subcommands_list(FILE *out);

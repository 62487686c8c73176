/*
 * The names of all settings, with their defaults and a few words about each: for --help, and to
 * find what a wrong name was meant to be.
 */
#pragma once

#include <stdio.h>

/* Prints a line for each, in groups. */
void setting_names_list(FILE *out);

/* The setting that `name` probably means; NULL for a setting, and for a name that is near to none.
 * Only names that begin with SANDBOX_ are compared; others belong to other programs. */
const char *setting_names_nearest(const char *name);

struct variables;

/* Writes one warning to standard error for each of the variables (NULL: of the environment) that is
 * near to a setting and is none. Not thread-safe (environ). */
void setting_names_warn(const struct variables *variables);

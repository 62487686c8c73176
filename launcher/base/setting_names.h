/*
 * The names of all settings, with their defaults and what they are in a few words: for --help, and
 * to find what a wrong name was meant to be.
 */
#ifndef LAUNCHER_BASE_SETTING_NAMES_H
#define LAUNCHER_BASE_SETTING_NAMES_H

#include <stdio.h>

/* One line each, in groups. */
void setting_names_list(FILE *out);

/* The setting that `name` was probably meant to be, or NULL: for what is one, and for what is like
 * none. Only names that begin with SANDBOX_ are looked at; others are other programs'. */
const char *setting_names_nearest(const char *name);

struct variables;

/* Writes one warning to standard error for each of the variables (NULL: of the environment) that is
 * near to a setting and is none. Not thread-safe (environ). */
void setting_names_warn(const struct variables *variables);

#endif

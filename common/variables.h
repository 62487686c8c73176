/*
 * Settings as a list of names and values: those of files, which one program may read for several
 * servers. NULL stands for the environment of the process.
 *
 * Not thread-safe.
 */
#pragma once

#include <stddef.h>

/* {0} is empty. */
struct variables {
    char **entries; /* "NAME=value", with a NULL at the end; the last of a name counts */
    size_t count;
    char *where;                    /* the file that messages name */
    const struct variables *shared; /* has what is not here; borrowed. NULL: nothing has */
};

/* The value; NULL for one that is unset or empty. Borrowed from the variables. */
const char *variables_get(const struct variables *variables, const char *name);

/* Appends a variable. 0, or -1 with errno. */
int variables_add(struct variables *variables, const char *name, const char *value);

/* Logs one line about a setting, after the name of the file that it is from. Returns -1. */
__attribute__((format(printf, 2, 3))) int variables_fail(const struct variables *variables,
                                                         const char *format, ...);

void variables_free(struct variables *variables);

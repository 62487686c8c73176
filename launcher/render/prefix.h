/*
 * SANDBOX_PREFIX: the paths below which a server offers the API.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define PREFIX_VARIABLE "SANDBOX_PREFIX"
#define PREFIXES_MOST   16

struct prefixes {
    size_t count;
    char *path[PREFIXES_MOST]; /* "" is the root, else "/a/b"; longer ones first, so that the first
                                  that fits a path is the one that nginx takes */
    char *text;                /* what they are in */
};

struct variables;

/*
 * Reads the setting: "/sandbox, /other". Nothing is the root alone, and so is "/"; `with_root` adds
 * the root in any case. 0, or -1 after one line to standard error; free with prefixes_free().
 */
int prefixes_read(struct prefixes *prefixes, const struct variables *from, bool with_root);

void prefixes_free(struct prefixes *prefixes);

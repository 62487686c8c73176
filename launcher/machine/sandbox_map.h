/*
 * map.conf: which requests are for which sandbox, in lines of an nginx map.
 *
 *     one.example.org   one;      # a host, or what SANDBOX_ROUTE_BY names
 *     "~^two[.-]"       two;      # a regular expression
 *     default           one;      # without it other requests are for no sandbox
 */
#pragma once

#include <stdbool.h>

struct site;

/* Whether the site has a sandbox of this name. */
bool site_has(const struct site *site, const char *name);

/* Returns the entries as nginx takes them, each for a sandbox that the site has. Without a file, or
 * without an entry in it, all requests are for `default`. NULL after one line to standard error.
 * The caller frees. */
char *sandbox_map_read(const char *path, const struct site *site);

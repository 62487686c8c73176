/*
 * Part of `nginx-sandbox check`: nginx, its configuration, and what that includes.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define SERVERS_MOST 16 /* that are looked at */

/* The run directories of servers that run by `nginx-sandbox --without-nginx` and whose snippets
 * nginx includes. */
struct included_servers {
    char run[SERVERS_MOST][PATH_MAX];
    size_t count;
};

/* Returns all that nginx reads (nginx -T), to be freed, or NULL after reporting a problem. */
char *check_nginx_dump(void);

/* Finds such servers in what nginx reads. `etc` is no server. */
void check_nginx_servers(const char *configuration, const char *etc,
                         struct included_servers *servers);

/* Whether nginx reads this file. */
bool check_nginx_reads(const char *configuration, const char *path);

/* Reports which of the two includes are missing of what `render` has written. */
void check_nginx_rendered(const char *configuration, const char *etc);

/* The same for the snippets of a server. */
void check_nginx_snippets(const char *configuration, const char *run);

/* Reports workers that cannot reach the daemons, and an nginx that does not run. */
void check_nginx_itself(const char *configuration);

/* Reports an nginx that has not read its configuration since `path` was written. */
void check_nginx_age(const char *configuration, const char *path);

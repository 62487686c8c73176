/*
 * Where the files of this machine are: the tree of nginx/ (installed, or in the checkout), our
 * daemons, and the stock programs and modules that we start.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "common/daemons.h"

struct layout {
    char tree[PATH_MAX];                  /* holds nginx.conf, snippets/, templates/, service/ */
    char daemons[DAEMON_COUNT][PATH_MAX]; /* the program of each; nginx's may be "" */
    char launcher[PATH_MAX];              /* this program */
    char s6_svscan[PATH_MAX];
    char stream_module[PATH_MAX];
    char stream_js_module[PATH_MAX];
    char http_js_module[PATH_MAX]; /* "" unless it was looked for */
};

/* Fills *layout; what concerns nginx itself only `with_nginx`. 0, or -1 after one line to standard
 * error that names what is missing. */
int layout_find(struct layout *layout, bool with_nginx);

/* Fills in the tree and this program alone, for one that starts no daemon. 0, or -1 after one line
 * to standard error. */
int layout_find_tree(struct layout *layout);

/* Fills in nginx's njs module for http, as libnginx-mod-http-js has it. 0, or -1 after one line to
 * standard error. */
int layout_find_http_js(struct layout *layout);

/* The same and our daemons, for another supervisor than ours. 0, or -1 as above. */
int layout_find_daemons(struct layout *layout);

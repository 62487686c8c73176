/*
 * SANDBOX_CORS_ORIGINS: the origins (RFC 6454: scheme, host and port) of web pages that may call
 * the API from a browser. None by default.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CORS_VARIABLE     "SANDBOX_CORS_ORIGINS"
#define CORS_ORIGINS_MOST 64

struct cors_origins {
    bool any; /* every origin */
    size_t count;
    /* As a browser sends it: in lower case, without the default port of its scheme. The characters
     * are letters, digits and "+-._:/[]". Owned. */
    char *origin[CORS_ORIGINS_MOST];
};

struct variables;

/*
 * Reads the setting: "https://a.example, http://localhost:5173" or "*". 0, or -1 after one line to
 * standard error. Free with cors_origins_free() either way.
 */
int cors_origins_read(struct cors_origins *origins, const struct variables *from);

void cors_origins_free(struct cors_origins *origins);

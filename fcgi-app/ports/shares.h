/*
 * The ports that are shared now, each a file in the directory of the bound port. nginx lets nobody
 * in by a share whose file is gone (nginx/share.js), so a share ends at once, and no daemon has to
 * remember anything. All functions are thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SHARES_MOST         256 /* at once; each has a file */
#define SHARE_ID_SIZE       17  /* 16 digits, NUL-terminated */
#define SHARE_ORIGINS_MOST  1000
#define SHARE_PREFIX        "share-"  /* of a share by link; the id follows */
#define SHARE_PUBLIC_PREFIX "public-" /* of a share with everybody; the port follows */

struct share {
    char id[SHARE_ID_SIZE];
    bool is_public;      /* nobody needs its link */
    unsigned port;       /* 1 to 65535 */
    uint64_t expires_ms; /* since 1970 */
};

/* Remembers the directory of the files (borrowed descriptor). Call once, before threads. */
void shares_init(int directory_fd);

/*
 * Begins a share, and makes its id. `origins`: the web pages that may show it in a frame, with one
 * space between two; at most SHARE_ORIGINS_MOST bytes, perhaps none. A public share takes the place
 * of the one that the port has. 0, or -1 with errno: EDQUOT if there are as many as may be.
 */
int shares_add(struct share *share, const char *origins);

/* Ends the share of this id, or, if `id` is NULL, all of this port. How many it has ended; -1 with
 * errno. */
int shares_end(const char *id, unsigned port);

/* How many shares shares_add() has begun. */
unsigned long long shares_made(void);

/* The shares that have not expired, in no order. Removes the files of those that have. How many,
 * or -1 with errno. */
int shares_now(struct share shares[static SHARES_MOST]);

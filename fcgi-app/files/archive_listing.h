/*
 * What tar lists while it extracts (--verbose twice, --numeric-owner, --block-number,
 * --quoting-style=escape): a line for each member, and one for the end of the archive. The latter
 * tells an archive that ends from one that only stops, which GNU tar does not call an error.
 *
 *   block 5: -rwxr-xr-x 0/0    10240 2026-11-30 12:51 ./name
 *   block 5: drwxr-xr-x            Creating directory: d
 *   block 26: lrwxrwxrwx 0/0       0 2026-11-30 12:51 ./link -> name
 *   block 28: ** Block of NULs **
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: nothing was listed. */
struct archive_listing {
    uint64_t members;
    char last[512]; /* the name of the last member, perhaps cut */
    bool ends;      /* the archive does */
    bool sets_id;   /* a mode has a set-user-ID or set-group-ID bit */
    char line[512]; /* that comes just now; what does not fit is dropped */
    size_t length;
};

/* The next piece of the list. */
void archive_listing_take(struct archive_listing *listing, const char *data, size_t length);

/* How far tar came, for an error: "3 members came, the last is ./a". */
#define ARCHIVE_PROGRESS_SIZE 600
const char *archive_listing_progress(const struct archive_listing *listing,
                                     char text[ARCHIVE_PROGRESS_SIZE]);

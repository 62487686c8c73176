/*
 * What a client asks /attach for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "procd/wire/words.h"

struct attach_query {
    char id[JOB_ID_SIZE];
    bool has_offset;
    bool only_views;
    uint64_t offset;
};

/* Reads a query string. NULL, or what is wrong with it. Thread-safe. */
const char *attach_query_read(struct attach_query *query, const char *text);

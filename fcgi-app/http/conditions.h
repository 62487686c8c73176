/*
 * Conditional requests (RFC 9110, 13): whether the state that a client knows is still the one that
 * there is. All functions are thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <time.h>

struct request;

/* What tells one state of something from another. */
struct validators {
    const char *etag;         /* strong, with its quotes; "": it has none */
    bool has_date;            /* whether there is a Last-Modified */
    struct timespec modified; /* if so */
};

enum verdict {
    CONDITIONS_HOLD,         /* do it */
    CONDITIONS_NOT_MODIFIED, /* 304 */
    CONDITIONS_FAIL,         /* 412 */
};

/* Asks the request's conditions in the order of section 13.2.2. `current` is NULL where nothing is.
 */
enum verdict conditions_check(const struct request *request, const struct validators *current);

/* Whether a Range counts: there is no If-Range, or it names this very state. */
bool conditions_allow_range(const struct request *request, const struct validators *current);

/*
 * The places of the requests that wait for a port (SANDBOX_MAX_HELD), and what has become of those
 * that did. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether there was a place, which is taken now. Visitors by a share get half of them. */
bool held_places_take(uint64_t most, bool is_visitor);

void held_places_leave(bool is_visitor);

/* Counts a request that begins to wait, and one that has waited in vain. */
void held_places_count_wait(void);
void held_places_count_timeout(void);

/* What has happened since the start. */
struct hold_figures {
    int64_t held;      /* requests that wait now */
    int64_t waited;    /* that have waited, those too */
    int64_t timed_out; /* that have waited in vain */
};
void hold_figures(struct hold_figures *figures);

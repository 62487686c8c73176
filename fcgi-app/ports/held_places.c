#include "fcgi-app/ports/held_places.h"

#include <stdatomic.h>

static atomic_llong held, visitors, waited, timed_out;

bool held_places_take(uint64_t most, bool is_visitor)
{
    bool has_place = (uint64_t)atomic_fetch_add(&held, 1) < most;
    if (is_visitor) {
        has_place = (uint64_t)atomic_fetch_add(&visitors, 1) < most / 2 && has_place;
    }
    if (!has_place) {
        held_places_leave(is_visitor);
    }
    return has_place;
}

void held_places_leave(bool is_visitor)
{
    (void)atomic_fetch_sub(&held, 1);
    (void)atomic_fetch_sub(&visitors, is_visitor);
}

void held_places_count_wait(void)
{
    (void)atomic_fetch_add(&waited, 1);
}

void held_places_count_timeout(void)
{
    (void)atomic_fetch_add(&timed_out, 1);
}

void hold_figures(struct hold_figures *figures)
{
    *figures = (struct hold_figures){.held = atomic_load(&held),
                                     .waited = atomic_load(&waited),
                                     .timed_out = atomic_load(&timed_out)};
}

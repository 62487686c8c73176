#include "fcgi-app/ports/held_places.h"

#include <stdatomic.h>

static atomic_llong held, waited, timed_out;

bool held_places_take(uint64_t most)
{
    if ((uint64_t)atomic_fetch_add(&held, 1) < most) {
        return true;
    }
    held_places_leave();
    return false;
}

void held_places_leave(void)
{
    (void)atomic_fetch_sub(&held, 1);
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

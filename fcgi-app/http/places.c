#include "fcgi-app/http/places.h"

#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>

/* One place in so many is kept from long-running requests, and at least so many places are. */
#define SHORT_ONE_IN 16
#define SHORT_LEAST  2

#define MONITORS_PLACES 4

static struct {
    unsigned most;
    unsigned most_long;
    atomic_uint monitors;
    atomic_uint others;
    atomic_uint long_running; /* of the others */
} places;

void places_init(unsigned requests_max)
{
    unsigned kept_free = requests_max / SHORT_ONE_IN;
    kept_free = kept_free < SHORT_LEAST ? SHORT_LEAST : kept_free;
    places.most = requests_max;
    places.most_long = requests_max > kept_free ? requests_max - kept_free : 1;
}

bool places_take(enum place place)
{
    if (place != PLACE_MONITOR) {
        return atomic_fetch_add(&places.others, 1) < places.most;
    }
    unsigned monitors = atomic_fetch_add(&places.monitors, 1);
    return monitors + atomic_load(&places.others) < places.most + MONITORS_PLACES;
}

bool places_prolong(enum place *place)
{
    *place = PLACE_LONG;
    return atomic_fetch_add(&places.long_running, 1) < places.most_long;
}

void places_leave(enum place place)
{
    if (place == PLACE_LONG) {
        atomic_fetch_sub(&places.long_running, 1);
    }
    atomic_fetch_sub(place == PLACE_MONITOR ? &places.monitors : &places.others, 1);
}

unsigned places_taken(void)
{
    return atomic_load(&places.monitors) + atomic_load(&places.others);
}

int places_await_none(int timeout_ms)
{
    const int step_ms = 5;
    for (int waited = 0; places_taken() > 0; waited += step_ms) {
        if (waited >= timeout_ms) {
            return -1;
        }
        (void)poll(NULL, 0, step_ms);
    }
    return 0;
}

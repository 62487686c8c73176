/*
 * The places for requests that are served at once: SANDBOX_MAX_CONNECTIONS. A sixteenth of them is
 * kept from long-running requests, so that short ones are answered however many others there are.
 * Monitors
 * (/health, /metrics) have a few places beyond all others and take none of theirs: clients that are
 * slow with short requests must not make the server look dead.
 *
 * A request is counted even if there was no place for it. All functions are thread-safe.
 */
#pragma once

#include <stdbool.h>

enum place { PLACE_MONITOR, PLACE_SHORT, PLACE_LONG };

/* Remembers how many there may be. Call once, before threads. */
void places_init(unsigned requests_max);

/* Counts a request of a monitor or a short one. False when there was no place. */
bool places_take(enum place place);

/* Makes a short request a long-running one. False when there was no place. */
bool places_prolong(enum place *place);

/* The request is over. */
void places_leave(enum place place);

/* How many requests are being served. */
unsigned places_taken(void);

/* Waits until no request is served. 0, or -1 when that has taken `timeout_ms`. */
int places_await_none(int timeout_ms);

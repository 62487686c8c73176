/*
 * From a request to its endpoint: a place, the row, the limits, the body, the handler, and an
 * answer for what no handler has answered.
 */
#pragma once

#include <stdbool.h>

struct endpoint;
struct request;

/* Remembers the rows by their numbers (borrowed). Call once, before threads. */
void dispatch_init(const struct endpoint *const *endpoints);

/* Serves a request to its end. `refuse`: by 503, since there is no thread for the next one. */
void dispatch(struct request *request, bool refuse);

/* The end of a request that was detached: its connection (taken over) serves on, or is closed if
 * not `reuse`. */
void dispatch_give_back(int fd, bool reuse);

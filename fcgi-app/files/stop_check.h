/*
 * Whether a long work is to end. Thread-safe.
 */
#pragma once

#include <stdbool.h>

struct request;

/* Zeroed: it never is. */
struct stop_check {
    bool (*stop)(void *context);
    void *context;
};

/* For work that is done for a request: when its client has left, or the server stops. */
struct stop_check stop_check_of(struct request *request);

/* Whether the work is to end now. */
bool stop_check_asks(const struct stop_check *check);

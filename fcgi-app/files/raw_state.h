/*
 * The conditions of a request that changes a file, about the state in which that is now.
 */
#pragma once

#include <stdbool.h>

struct request;

/* Whether the request has conditions. Thread-safe, as the others. */
bool raw_state_is_asked(const struct request *request);

/* Whether they hold. If not the request has been answered. */
bool raw_state_holds(struct request *request, const char *path);

/* Answers that they do not hold. */
void raw_refuse_state(struct request *request, const char *path);

/*
 * The environment that a client gives a command: an object of strings, turned into "NAME=value".
 */
#pragma once

#include <stddef.h>

#include "fcgi-app/json/json_scan.h"

struct json_environment {
    char **entries; /* NULL when there is none */
    size_t count, capacity;
};

#define JSON_ENVIRONMENT_FAULT_SIZE 256

/*
 * Takes the entries out of a scanned object into the empty *environment, in their order: of several
 * with one name the runner takes the last (procd/runner/environment.h). null is an empty value. 0;
 * -1 when memory is out; 1 when an entry is refused, and `fault` (JSON_ENVIRONMENT_FAULT_SIZE
 * bytes) names it: its name is empty or has = or NUL, its value is not a string or has NUL, or
 * either has a lone surrogate. Clear it in any case. Thread-safe.
 */
int json_environment_take(struct json_environment *environment, struct json_span object,
                          char *fault);

void json_environment_clear(struct json_environment *environment);

/*
 * The environment that a client gives a command: an object of strings, turned into "NAME=value".
 */
#ifndef FCGI_APP_JSON_JSON_ENVIRONMENT_H
#define FCGI_APP_JSON_JSON_ENVIRONMENT_H

#include <stddef.h>

#include "fcgi-app/json/json_scan.h"

struct json_environment {
    char **entries; /* NULL when there is none */
    size_t count, capacity;
};

#define JSON_ENVIRONMENT_FAULT_SIZE 256

/*
 * Takes the entries out of a scanned object into the empty *environment. Of entries with one name
 * the last stays; null is an empty value. 0; 1 when a name is empty or holds = or NUL, a value is
 * no string or holds NUL, or either holds a lone surrogate: `fault` (JSON_ENVIRONMENT_FAULT_SIZE
 * bytes) then says so and names it; -1 when memory is out. Clear it in any case. Thread-safe.
 */
int json_environment_take(struct json_environment *environment, struct json_span object,
                          char *fault);

void json_environment_clear(struct json_environment *environment);

#endif

/*
 * The parameters in a query string.
 */
#ifndef FCGI_APP_HTTP_QUERY_H
#define FCGI_APP_HTTP_QUERY_H

#include <stdbool.h>

/*
 * Leaves the value of the first parameter of this name in *value, decoded (%xx, and + for a space)
 * and owned by the caller; NULL when it is not there, or holds %00. 0, or -1 when memory is out.
 * Thread-safe.
 */
int query_value(const char *query, const char *name, char **value);

/*
 * Reads a flag: true or 1, false or 0; `fallback` when it is absent or empty. 0; 1 when the value
 * is anything else; -1 when memory is out. Thread-safe.
 */
int query_flag(const char *query, const char *name, bool fallback, bool *flag);

/* Whether there is a parameter of this name that is not empty: then query_value() has a value, or
 * the value is none. */
bool query_has(const char *query, const char *name);

#endif

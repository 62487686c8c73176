/*
 * The parameters in a query string.
 */
#ifndef FCGI_APP_QUERY_H
#define FCGI_APP_QUERY_H

/*
 * The value of the first parameter of this name, decoded (%xx, and + for a space); owned by the
 * caller. NULL when it is not there, holds %00, or memory is out. Thread-safe.
 */
char *query_value(const char *query, const char *name);

#endif

/*
 * The body of a request, read from the connection itself: large pieces into the caller's memory,
 * and between them the heads of records. Libfcgi would read 8 KiB at a time, and copy them.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "fcgi-app/http/body_parts.h"
#include "fcgi-app/http/record_filter.h"

/*
 * Reads what comes next of the body: at least a byte and at most `length` (>= 1), or 0 at its end;
 * -1 when the connection ended before, or is no web server's (it is logged). The filter must have
 * seen what was read of the connection before, and its body must have been taken.
 */
ssize_t body_records_read(int connection, struct record_filter *filter, void *data, size_t length);

/*
 * The same in one read(2) of as much as has come, records and all: *parts says where the body lies
 * in `buffer`. The sum of the parts, 0 at the end, or -1. For a large body this takes much fewer
 * calls, and wakes the web server less often.
 */
ssize_t body_records_read_parts(int connection, struct record_filter *filter, char *buffer,
                                size_t size, struct body_parts *parts);

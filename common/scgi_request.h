/*
 * A request of SCGI, "LENGTH:NAME\0VALUE\0...," (https://python.ca/scgi/protocol.txt), as far as
 * the service of the claim and the terminal daemon need it: its headers.
 */
#pragma once

#include <stddef.h>

/*
 * The value of a header in the bytes that have come so far, borrowed from `text`, which has a NUL
 * after its `length` bytes. NULL if it has no such header, and for a request that is not whole
 * (yet). Thread-safe.
 */
const char *scgi_header(const char *text, size_t length, const char *wanted);

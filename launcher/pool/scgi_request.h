/*
 * A request of SCGI, "LENGTH:NAME\0VALUE\0...," (https://python.ca/scgi/protocol.txt), as far as
 * the claim of a pool needs it.
 */
#ifndef LAUNCHER_POOL_SCGI_REQUEST_H
#define LAUNCHER_POOL_SCGI_REQUEST_H

#include <stddef.h>

/*
 * The value of a header in the bytes that have come so far, borrowed from `text`, which has a NUL
 * behind its `length` bytes. NULL for none, and for what is no whole request (yet). Thread-safe.
 */
const char *scgi_header(const char *text, size_t length, const char *wanted);

#endif

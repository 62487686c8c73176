/*
 * Content-Disposition, by which a browser saves an answer under a name.
 */
#pragma once

#include <stddef.h>

#define DISPOSITION_NAME_MOST ((size_t)256) /* bytes of a name; the rest is cut */

/* Room for the header: the name twice, once with each byte as %xx. */
#define DISPOSITION_SIZE (5 * DISPOSITION_NAME_MOST)

/*
 * Writes the header line with its \r\n: the name, and an extension (ASCII, at most 16 bytes, "" for
 * none) behind it. In ASCII for old clients, and as it is if it is UTF-8. Returns `header`.
 * Thread-safe.
 */
const char *disposition_header(char header[DISPOSITION_SIZE], const char *name, size_t length,
                               const char *extension);

/*
 * JSON strings byte by byte. cJSON ends a string at its first NUL, accepts bad escapes and passes
 * invalid UTF-8 on. Escaping here turns any bytes into valid JSON text: bytes that are not UTF-8
 * become U+FFFD, as in Go's encoding/json. Nothing here allocates.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* How much room `json_escape` may need for `length` bytes of input. */
#define JSON_ESCAPED_MAX(length) ((length)*6 + 6)

/*
 * Writes the escaped form of data[0..length) to `out` (JSON_ESCAPED_MAX(length) bytes, no quotes,
 * no NUL) and returns how many bytes it wrote. *consumed is how much of the input that covers:
 * all of it when `last`, otherwise all but an unfinished UTF-8 sequence of at most 3 bytes at the
 * end, which the caller puts in front of its next piece. Only `"`, `\`, control characters and line
 * separators (below) are escaped. Thread-safe, cannot fail.
 */
size_t json_escape(char *restrict out, const char *restrict data, size_t length, bool last,
                   size_t *consumed);

/* The same; *replaced becomes true when a byte became U+FFFD, and otherwise stays. */
size_t json_escape_noting(char *restrict out, const char *restrict data, size_t length, bool last,
                          size_t *consumed, bool *replaced);

/*
 * The escape of the line separator that data[0..length) begins with, and its bytes in *taken; NULL
 * if it begins with none. These are U+0085, U+2028 and U+2029, which end a line in Unicode: clients
 * that read an event stream by a general function for lines (Python's str.splitlines, and httpx
 * with it) would cut an event there. Thread-safe.
 */
#define JSON_SEPARATOR_ESCAPE_LENGTH 6
const char *json_separator_escape(const char *data, size_t length, size_t *taken);

/*
 * How many bytes at the beginning of data[0..length) are plain in a JSON string: printable ASCII
 * (and DEL) other than `"` and `\`. Thread-safe.
 */
size_t json_plain_length(const char *data, size_t length);

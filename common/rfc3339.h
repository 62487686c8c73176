#pragma once

#include <stdint.h>

#define RFC3339_SIZE 40

/*
 * RFC 3339 in UTC with nine digits of a second, "2025-11-04T12:34:56.123456789Z". A time
 * outside the years 0000 to 9999 becomes their first or last second. Returns `text`.
 * Thread-safe.
 */
const char *rfc3339_format(int64_t seconds, uint32_t nanoseconds, char text[RFC3339_SIZE]);

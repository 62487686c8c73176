/*
 * The header Range (RFC 9110, 14.1.2), of bytes.
 */
#pragma once

#include <stdint.h>

struct byte_range {
    uint64_t first;
    uint64_t length;
};

enum range_kind {
    RANGE_WHOLE,         /* none, several, or none that can be understood: all is sent */
    RANGE_PART,          /* one */
    RANGE_UNSATISFIABLE, /* one that begins behind the end: 416 */
};

/* Reads the value of the header for something of `size` bytes. *range is what is to be sent; of
 * RANGE_UNSATISFIABLE nothing. Thread-safe. */
enum range_kind byte_range_read(const char *text, uint64_t size, struct byte_range *range);

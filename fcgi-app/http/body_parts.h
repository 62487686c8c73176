/*
 * What was read of a body, where it lies: the heads of records are between the parts.
 */
#pragma once

#include <stddef.h>

/* nginx sends 8 records of 32 KiB from a buffer of 256 KiB. */
#define BODY_PARTS 12

struct body_parts {
    size_t count;
    struct body_part {
        char *data;
        size_t length;
    } part[BODY_PARTS];
};

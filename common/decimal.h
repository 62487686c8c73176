/*
 * Decimal numbers without printf(3), for events that come by the million.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_MAX ((size_t)20) /* digits of a uint64_t */

/* Writes `number` to `text`, which has room for DECIMAL_MAX bytes; no NUL. Returns how many it
 * wrote. */
size_t decimal_render(char *text, uint64_t number);

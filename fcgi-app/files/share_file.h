#pragma once

#include <stdint.h>

/* Remembers how long a link may live (0: none is made), and where relative paths begin (borrowed).
 * Call once, before threads. */
void share_file_init(uint64_t lifetime_most_ms, const char *start_directory);

#pragma once

#include <stdint.h>

/* Remembers how many bytes of output /run answers at most, 0: any number. Call once, before
 * threads. */
void run_init(uint64_t output_max);

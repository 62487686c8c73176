/*
 * The capabilities of the calling thread, of which only the first 32 are asked for here
 * (capabilities(7)). Each: 0, or -1 with errno. Thread-safe.
 */
#ifndef COMMON_CAPABILITY_H
#define COMMON_CAPABILITY_H

#include <linux/capability.h>
#include <stdint.h>

/* CAP_* as a bit of a set. */
#define CAPABILITY(number) (UINT32_C(1) << (number))

/* Those that count now. */
int capability_read(uint32_t *effective);

/* Has these, permitted and effective, and no others; and nothing inheritable. */
int capability_keep(uint32_t set);

/* Has no inheritable ones any more, and so no ambient ones either; otherwise what it had. */
int capability_drop_inheritable(void);

#endif

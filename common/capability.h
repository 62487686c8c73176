/*
 * The capabilities of the calling thread (capabilities(7)); only the first 32 can be named here.
 * Each function: 0, or -1 with errno. Thread-safe.
 */
#pragma once

#include <linux/capability.h>
#include <stdint.h>

/* CAP_* as a bit of a set. */
#define CAPABILITY(number) (UINT32_C(1) << (number))

/* Reads the effective ones. */
int capability_read(uint32_t *effective);

/* Keeps these, permitted and effective, and gives up all others and the inheritable ones. */
int capability_keep(uint32_t set);

/* Gives up the inheritable ones, and with them the ambient ones; keeps the rest. */
int capability_drop_inheritable(void);

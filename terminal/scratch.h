/*
 * Room for what is read in one step and passed on in the same step: one for all of the daemon,
 * since it has one thread.
 */
#pragma once

#define SCRATCH_SIZE 65536

extern unsigned char scratch[SCRATCH_SIZE];

/* Zombies: processes that have ended and were not waited for. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/*
 * How many of them descend from `ancestor`, -1 when /proc cannot be read or memory is out. It reads
 * a file for each process of the machine; procd, which has one thread for everything, must not do
 * that. Thread-safe.
 */
int64_t zombies_below(pid_t ancestor);

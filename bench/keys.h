/*
 * Keys that are typed one after the other, each when the echo of the last one has come.
 */
#pragma once

#include <stdio.h>
#include <time.h>

#define KEY        'k'
#define KEYS_READY 'R' /* what the program in the terminal writes when it takes keys */

/* Prints the ns from each key to its echo, a line for each. */
static inline void keys_measure(unsigned count, void (*type)(void *context),
                                void (*read_echo)(void *context), void *context)
{
    for (unsigned i = 0; i < count; i++) {
        struct timespec begin;
        struct timespec end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        type(context);
        read_echo(context);
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%lld\n", (long long)(end.tv_sec - begin.tv_sec) * 1000000000LL +
                             (end.tv_nsec - begin.tv_nsec));
    }
}

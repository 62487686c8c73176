/*
 * Prints the time of writing (CLOCK_REALTIME, ns) as a line of its own, COUNT times, 10 ms apart:
 * what a reader subtracts from the time of arrival.
 *
 *   ticker COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"

int main(int argc, char **argv)
{
    for (int i = argc > 1 ? atoi(argv[1]) : 100; i > 0; i--) {
        struct timespec time;
        char line[32];
        clock_gettime(CLOCK_REALTIME, &time);
        int length =
            snprintf(line, sizeof(line), "%lld%09ld\n", (long long)time.tv_sec, time.tv_nsec);
        if (io_write_all(1, line, (size_t)length) != 0) {
            return 1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000L}, NULL);
    }
    return 0;
}

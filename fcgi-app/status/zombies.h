/*
 * Processes that have ended and that nobody has asked how.
 */
#ifndef FCGI_APP_STATUS_ZOMBIES_H
#define FCGI_APP_STATUS_ZOMBIES_H

#include <stdint.h>
#include <sys/types.h>

/*
 * How many of them descend from `ancestor`, -1 when /proc cannot be read or memory is out. It reads
 * a file for each process there is, which procd, that has one thread for everything, must not.
 * Thread-safe.
 */
int64_t zombies_below(pid_t ancestor);

#endif

/*
 * Names of signals: "SIGKILL" and its like.
 */
#ifndef COMMON_SIGNAL_NAME_H
#define COMMON_SIGNAL_NAME_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SIGNAL_NAME_SIZE 16

/* The name of a signal, "SIGRTMIN+n" for a real-time one. Returns `name`. */
static inline const char *signal_name(int signal, char name[SIGNAL_NAME_SIZE])
{
    const char *known = sigabbrev_np(signal);
    if (known != NULL) {
        (void)snprintf(name, SIGNAL_NAME_SIZE, "SIG%s", known);
    } else {
        (void)snprintf(name, SIGNAL_NAME_SIZE, "SIGRTMIN+%d", (signal - SIGRTMIN) & 63);
    }
    return name;
}

/* The signal of a name, with or without SIG, in any case, or of a number in plain digits; 0 for
 * what is none. */
static inline int signal_number(const char *name)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*name >= '0' && *name <= '9') {
        return *end == '\0' && number < NSIG ? (int)number : 0;
    }
    const char *short_name = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;
    for (int signal = 1; signal < NSIG; signal++) {
        const char *known = sigabbrev_np(signal);
        if (known != NULL && strcasecmp(known, short_name) == 0) {
            return signal;
        }
    }
    return 0;
}

#endif

/*
 * Names of signals, such as "SIGKILL".
 */
#pragma once

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

/* The signal of another name, without SIG; 0 for an unknown one. "RTMIN", "RTMAX", real-time
 * signals counted from the end, as kill(1) of some shells lists them, and names that share a
 * number. */
static inline int signal_of_alias(const char *name)
{
    static const struct {
        const char *name;
        int signal;
    } aliases[] = {{"IOT", SIGABRT}, {"CLD", SIGCHLD}, {"IO", SIGIO}};
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcasecmp(aliases[i].name, name) == 0) {
            return aliases[i].signal;
        }
    }
    if (strcasecmp(name, "RTMIN") == 0) {
        return SIGRTMIN;
    }
    if (strncasecmp(name, "RTMAX", 5) != 0) {
        return 0;
    }
    if (name[5] == '\0') {
        return SIGRTMAX;
    }
    if (name[5] != '-' || name[6] < '0' || name[6] > '9') {
        return 0;
    }
    char *end;
    unsigned long below = strtoul(name + 6, &end, 10);
    return *end == '\0' && below <= (unsigned long)(SIGRTMAX - SIGRTMIN) ? SIGRTMAX - (int)below
                                                                         : 0;
}

/* The signal of a name, with or without SIG, in upper or lower case, or of a number in plain
 * digits; 0 for an unknown one. Each name from signal_name() is known. */
static inline int signal_number(const char *name)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*name >= '0' && *name <= '9') {
        return *end == '\0' && number < NSIG ? (int)number : 0;
    }
    const char *short_name = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;
    for (int signal = 1; signal < NSIG; signal++) {
        char known[SIGNAL_NAME_SIZE];
        if (strcasecmp(signal_name(signal, known) + 3, short_name) == 0) {
            return signal;
        }
    }
    return signal_of_alias(short_name);
}

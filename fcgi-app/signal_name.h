/*
 * "SIGKILL" and its like.
 */
#ifndef FCGI_APP_SIGNAL_NAME_H
#define FCGI_APP_SIGNAL_NAME_H

#include <signal.h>
#include <stdio.h>
#include <string.h>

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

#endif

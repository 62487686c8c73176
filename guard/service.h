/*
 * A service as its supervisor sees it.
 */
#pragma once

#include <limits.h>

struct service {
    char path[PATH_MAX + 32]; /* its directory */
    unsigned down;            /* looks in a row that have found it down, but wanted */
};

/* The service need not be there. */
void service_init(struct service *service, const char *run, const char *name);

/*
 * Makes s6-supervise start a service that is down though it should be up. s6-supervise does that by
 * itself, but waits for a minute if it could not fork when it tried. To call once a second; it
 * leaves s6-supervise its time, and a service alone that the operator has taken down.
 */
void service_revive(struct service *service);

/*
 * A service as its supervisor sees it.
 */
#ifndef GUARD_SERVICE_H
#define GUARD_SERVICE_H

#include <limits.h>

struct service {
    char path[PATH_MAX]; /* its directory */
    unsigned down;       /* looks in a row that have found it down, but wanted */
};

/* 0, or -1 with errno. A service need not be there. */
int service_init(struct service *service, const char *run, const char *name);

/*
 * Has a service started that is down though it should be up. s6-supervise does that by itself,
 * unless it could not fork when it tried: then it waits for a minute, however soon there is room
 * again. To call once a second; what s6-supervise does in its own time is left to it, and so is a
 * service that the operator has taken down.
 */
void service_revive(struct service *service);

#endif

/*
 * Whom nginx's workers run as: a user without rights when root starts the server, otherwise whoever
 * does.
 */
#ifndef LAUNCHER_WORKER_USER_H
#define LAUNCHER_WORKER_USER_H

#include <sys/types.h>

struct worker_user {
    char directive[128]; /* nginx's "user ...;" line, or empty for an ordinary user */
    gid_t group; /* who may connect to fcgi-app, (gid_t)-1: only the user who starts the server */
};

/* Chooses. Never fails: root without the capability to change user keeps it. Not thread-safe. */
void worker_user_choose(struct worker_user *worker);

#endif

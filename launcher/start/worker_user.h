/*
 * The user of nginx's workers: one without rights when root starts the server, otherwise the user
 * who starts it.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct worker_user {
    char directive[128]; /* nginx's "user ...;" line, or empty for an ordinary user */
    uid_t user;
    gid_t group; /* that may connect to fcgi-app; (gid_t)-1: only the user who starts the server may
                  * */
};

/* Chooses a user that can reach `run_path`. Never fails: root keeps the workers, after a line that
 * says why, if it may not change user or no other user can get there. Not thread-safe. */
void worker_user_choose(struct worker_user *worker, const char *run_path);

/* Whether the workers can reach `path`, through everything above it. If not, `at` is the directory
 * that they cannot enter. */
bool worker_user_may_reach(const struct worker_user *worker, const char *path, char at[PATH_MAX]);

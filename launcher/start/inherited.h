/*
 * What the services inherit from the supervisor, at the numbers where the run scripts in
 * nginx/service/ look for it: listening sockets, so that a service's clients wait in the backlog
 * while it restarts, and the lock on the run directory.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "launcher/start/listener.h"
#include "launcher/start/run_dir.h"

/* Opens the standard descriptors, closes everything else that this process has inherited, and
 * reserves the numbers, so that no other descriptor gets them. 0, or -1 after one line to standard
 * error. */
int inherited_reserve(void);

/*
 * Opens the daemons' sockets in the run directory, and puts them, nginx's listeners and the lock
 * where the run scripts look for them. `owner` (-1: nobody else) may connect to procd, the group
 * `workers` (-1: none) to fcgi-app, terminal and, `with_claim`, to the service of the claim. 0, or
 * -1 after one line to standard error.
 */
int inherited_open(const struct run_dir *run, const struct listeners *listeners, uid_t owner,
                   gid_t workers, bool with_claim);

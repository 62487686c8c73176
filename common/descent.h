/*
 * A way down a tree. Only the deepest directory is open. The way back up is "..", which must be the
 * directory that was left, so that one descriptor does for any depth and nothing that happens
 * meanwhile leads out of the tree. (rm and Go's RemoveAll keep a descriptor for each level.) A
 * descent belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct descent_place {
    dev_t device;
    ino_t inode;
};

/* Begins as {.fd = -1}. */
struct descent {
    int fd;                       /* the deepest directory; -1: none, or it was lost */
    struct descent_place *places; /* of all levels; there may be a million of them */
    size_t depth, capacity;
};

/* Makes the directory `fd` (taken over; -1 with errno: it could not be opened) the deepest level.
 * 0, or -1 with errno: then there is as much of the way as before, and fd may be lost. */
int descent_enter(struct descent *descent, int fd);

/*
 * Goes up a level. `flags`: O_PATH or O_RDONLY, how that directory is opened. 0, or -1 with errno:
 * the level is left, and fd is -1 (ESTALE: the directory was moved meanwhile).
 */
int descent_leave(struct descent *descent, int flags);

/* Whether `fd` is the directory of the deepest level. */
bool descent_is_at(const struct descent *descent, int fd);

/* Closes and frees all. */
void descent_clear(struct descent *descent);

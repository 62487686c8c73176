/*
 * The last component of a path and the directory that holds it. What is replaced or removed is
 * addressed by both, so that nobody can exchange the directory in between. Part of fs.
 */
#pragma once

#include <stddef.h>

/* The last component of a path, without the slashes behind it; "/" of the root. Borrowed from
 * `path`. */
const char *fs_name(const char *path, size_t *length);

/* open(2) of a path without the links of /proc that lead to what a process has open: ELOOP. The
 * descriptor (CLOEXEC), or -1 with errno; ENOSYS or EPERM where the kernel cannot tell them. */
int fs_open_plain(const char *path, int flags);

struct fs_place {
    int directory; /* O_PATH; -1 when not open */
    char *name;    /* without a slash; owned */
};

/*
 * Opens the directory of `path`; trailing slashes do not count. 0, or -1 with errno
 * (EINVAL: the path ends in . or .., EBUSY: it is the root). Clear it in any case. Thread-safe.
 */
int fs_place_open(struct fs_place *place, const char *path);

/* The same, without these links. */
int fs_place_open_plain(struct fs_place *place, const char *path);

void fs_place_clear(struct fs_place *place);

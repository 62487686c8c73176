/*
 * What a GET of /files opens.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "fcgi-app/files/fs.h"

struct served_file {
    int fd;             /* of a regular file; -1 of a directory. close_fd() it. */
    struct stat status; /* when it was opened */
    bool has_size;      /* the size says how much there is to read; not so in /proc and /sys */
};

/*
 * Refuses a path that leads to what the server's own process has in /proc, or through a link of
 * /proc to what a process has open. 0, also where nothing is there; or -1 with the error, also
 * where that cannot be told. `flags`: O_NOFOLLOW if a link is to be looked at itself. Thread-safe.
 */
int served_file_check(const char *path, int flags, const char *operation, struct fs_error *error);

/*
 * Opens a regular file, or looks at a directory. 0, or -1: devices, FIFOs, sockets, and what the
 * server itself has in /proc (/proc/self would be nobody else's) are refused with a reason.
 * Thread-safe.
 */
int served_file_open(struct served_file *file, const char *path, struct fs_error *error);

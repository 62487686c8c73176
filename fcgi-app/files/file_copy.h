/*
 * Copies of single files, links, FIFOs and sockets. A copy has the content with its holes, the
 * mode, the time of the last change, and those extended attributes and lists of access that the
 * file system and the user can set. It belongs to the user who copies; then set-user-ID and
 * set-group-ID bits of other owners are left out. Functions return 0, or -1 with errno, and are
 * thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "fcgi-app/files/stop_check.h"

struct copy_wish {
    bool keeps_owner; /* as far as the user may give files away: for a move */
    struct stop_check check;
};

/*
 * Copies an entry that is no directory to a new name. A link is copied as the link that it is.
 * EOPNOTSUPP: a device. ENOSPC: the disk is full, or would keep less than it must. ECANCELED: the
 * check asked to stop. What is left of the copy then is up to the caller.
 */
int file_copy(int from, const char *name, int to, const char *new_name,
              const struct copy_wish *wish);

/* Gives the copy `to` what `from` has beside its content, whose status it was; both are open files
 * or directories, `from` for reading. */
int file_copy_attributes(int from, int to, const struct stat *status, const struct copy_wish *wish);

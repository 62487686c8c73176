/*
 * The directory in which commands start and relative paths begin. It is known by its name: one that
 * was removed and made again is the same, and for one that is gone `/` is taken.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>

/*
 * The directory that the launcher has noted in the run directory; without a note the working
 * directory of this process. An absolute path, owned by the caller, or NULL with errno.
 */
char *start_directory_name(const char *run_directory);

/* Whether an errno of chdir(2) or stat(2) says that there is no such directory for us; another one
 * may be a passing trouble. */
static inline bool start_directory_is_gone(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EACCES || error == ESTALE;
}

/*
 * Whether a user may replace what root runs, reads or writes by its name: by its own rights, or by
 * those to a directory or link on the way there, as owners, modes and access control lists say (as
 * sshd's StrictModes). Each function: 0, or -1 after one line to standard error. Not thread-safe
 * (nftw).
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

struct user;

/*
 * An absolute path. What is not there yet must not be for the user to make. `resolved` (or NULL)
 * becomes the name without links.
 */
int path_check(const struct user *user, const char *path, char resolved[PATH_MAX]);

/* The same for a file that root makes again when it is gone, such as a log: the user must not be
 * able to make it first, nor to put a link there. */
int path_check_made_again(const struct user *user, const char *path, char resolved[PATH_MAX]);

/* A directory with everything below it. */
int path_check_tree(const struct user *user, const char *path);

/* Whether the user may write to `path`, which has this status; of a directory, whether it may
 * replace the entries. */
bool path_may_change(const struct user *user, const char *path, const struct stat *status);

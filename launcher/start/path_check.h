/*
 * What root runs, reads or writes by its name, and whether a user may put something else in its
 * place: by its own rights or those to a directory or link on the way there, as the owners, modes
 * and access control lists say (as sshd's StrictModes). Each: 0, or -1 after one line to standard
 * error. Not thread-safe (nftw).
 */
#ifndef LAUNCHER_START_PATH_CHECK_H
#define LAUNCHER_START_PATH_CHECK_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

struct user;

/*
 * An absolute path. What is not there yet must not be for the user to make. `resolved` (or NULL)
 * becomes the name without links.
 */
int path_check(const struct user *user, const char *path, char resolved[PATH_MAX]);

/* The same of a file that root makes again whenever it is gone, such as a log: the user must not be
 * the faster one, nor put a link there. */
int path_check_made_again(const struct user *user, const char *path, char resolved[PATH_MAX]);

/* A directory with everything below it. */
int path_check_tree(const struct user *user, const char *path);

/* Whether the user may write to what is at `path`, which has this status: of a directory, whether
 * it may put others in the place of what is there. */
bool path_may_change(const struct user *user, const char *path, const struct stat *status);

#endif

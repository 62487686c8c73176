/*
 * The run directory: chosen or made, locked against a second server, emptied, and laid out. All
 * files that the server writes are in it.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#define RUN_DIR_VARIABLE "SANDBOX_RUN_DIR"

struct user;

/* A socket's path has at most 107 bytes (unix(7)); the longest of ours adds "/fcgi-app.sock". */
#define RUN_DIR_MOST (107 - 14)

struct run_dir {
    /* What this start has made of a given path: the length of each part, from the root on. */
    char given[PATH_MAX];
    size_t made[RUN_DIR_MOST];
    size_t made_count;

    char path[PATH_MAX]; /* absolute, links resolved, only characters that mean nothing to nginx */
    int fd;              /* the directory, flock'ed; stays open while the server runs */
    bool fresh;          /* made by us and removed again */
};

/*
 * Opens the directory `given` (SANDBOX_RUN_DIR), making it if it is not there, or, for NULL, makes
 * a fresh private directory; locks it, empties it and makes the directories of the daemons. 0, or
 * -1 after one line to standard error that names the variable.
 */
int run_dir_open(struct run_dir *run, const char *given);

/*
 * Lets nginx's workers into the directory, which until then is ours alone. With SANDBOX_USER
 * (`user` is not NULL) only they get in, by their group, and what fcgi-app writes becomes the
 * user's, since it has no other rights to files. 0, or -1 after one line to standard error.
 */
int run_dir_admit(const struct run_dir *run, const struct user *user, gid_t workers);

/* Removes it after a failed start, with all parents that this start has made. */
void run_dir_discard(struct run_dir *run);

/* Whether nginx reads all characters of the path as they are. */
bool run_dir_is_plain_path(const char *path);

/*
 * The user that SANDBOX_USER names, the user of nginx's workers, and how a thread becomes a user.
 */
#pragma once

#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The home of users whose own one does not exist, or belongs to another user. */
#define HOME_VARIABLE "SANDBOX_HOME"

struct user {
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* all of them, `gid` too */
    size_t group_count;
    char *name; /* NULL for a number that has no account */
    char *home; /* SANDBOX_HOME or "/" for such a number */
    char *shell;
};

/*
 * Finds the user that `text` ("name", "name:group", "uid" or "uid:gid") names. 1 with *user (clear
 * it); 0 when there is nothing to change: `text` is NULL, or this process has that user; -1 with
 * one line in `error` that begins with the name of the variable. Not thread-safe (getpwnam).
 */
int user_find(const char *text, struct user *user, char *error, size_t error_size);

void user_clear(struct user *user); /* frees what it holds; {0} is fine */
#define cleanup_user cleanup_(user_clear)

bool user_has_group(const struct user *user, gid_t group);

/*
 * Makes the calling thread `user` for ever: groups, and all three ids of group and user. By system
 * calls alone, since libc would change its other threads, too: for a child that borrows its
 * parent's memory. 0, or -1 with errno.
 */
int user_become(const struct user *user);

/*
 * Renders the numbers of a user as a text (the caller frees it; NULL with errno), and parses it: 0,
 * or -1 for another text. The user that is parsed has no name and no home.
 */
char *user_format(const struct user *user);
int user_parse(const char *text, struct user *user);

/* The account without rights of nginx's workers on this system, or NULL. In a static buffer; not
 * thread-safe. */
const struct passwd *user_worker_account(void);

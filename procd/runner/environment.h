/*
 * The environment of a command: ours, overridden by name.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include "procd/wire/protocol.h"

struct user;

/*
 * A NULL-terminated vector of our environment and the env fields of `command`, of which the last of
 * a name wins. The strings are borrowed from both; the caller frees the vector. NULL with errno.
 */
char **environment_merge(const struct incoming *command);

/* Makes HOME, USER, LOGNAME and SHELL of our environment those of `user`. 0, or -1 with errno. */
int environment_adopt(const struct user *user);

/* Gives an environment without a locale one in UTF-8. 0, or -1 with errno. */
int environment_choose_locale(void);

/* Keeps of our environment only the variables of a user and of the locale: these four, PATH, LANG,
 * LC_*, TZ and TERM. None of the server's. */
void environment_restrict(void);

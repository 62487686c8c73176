/*
 * The environment of a command: ours, overridden by name.
 */
#ifndef PROCD_ENVIRONMENT_H
#define PROCD_ENVIRONMENT_H

#include "procd/protocol.h"

/*
 * A NULL-terminated vector of our environment and the env fields of `command`, of which the last of
 * a name wins. The strings are borrowed from both; the caller frees the vector. NULL with errno.
 */
char **environment_merge(const struct incoming *command);

#endif

/*
 * A runner: a small process that has one command at a time and owns its process tree. See
 * protocol.h for what it is told and tells.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#ifndef PROCD_RUNNER_RUNNER_H
#define PROCD_RUNNER_RUNNER_H

#include <stdbool.h>

/* What procd tells a runner on its command line. */
struct runner_options {
    long descriptor_limit; /* the soft limit of open files that its commands get; -1: leave it */
    const char
        *cgroup;       /* where it makes a cgroup for itself and its commands (cgroup.h); or NULL */
    bool cgroup_first; /* it takes no command before it is in there */
    const char *directory; /* the name of that in which commands start; NULL: the root */
    const char *limits;    /* of its commands: resource_limits_format(); NULL: its own */
    const char *user;      /* the numbers of its commands' user (user_format()), or NULL: ours */
};

/* The whole life of a runner, whose control socket is descriptor 0. Returns the exit status. */
int runner_main(const struct runner_options *options);

#endif

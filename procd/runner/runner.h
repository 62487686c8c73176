/*
 * A runner: a small process that has one command at a time and owns its process tree. protocol.h
 * has the messages that it gets and sends.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>

/* What procd puts on a runner's command line. */
struct runner_options {
    /* The soft limit of open files that its commands get; -1: its own. */
    long descriptor_limit;
    /* Where it makes a cgroup for itself and its commands (cgroup.h), or NULL. */
    const char *cgroup;
    bool cgroup_first;     /* it takes no command before it is in its cgroup */
    const char *directory; /* the name of the one in which commands start; NULL: the root */
    const char *limits;    /* of its commands: resource_limits_format(); NULL: its own */
    const char *user;      /* the numbers of its commands' user (user_format()); NULL: ours */
};

/* The whole life of a runner, whose control socket is descriptor 0. Returns the exit status. */
int runner_main(const struct runner_options *options);

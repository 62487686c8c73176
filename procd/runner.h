/*
 * A runner: a small process that has one command at a time and owns its process tree. See
 * protocol.h for what it is told and tells.
 */
#ifndef PROCD_RUNNER_H
#define PROCD_RUNNER_H

/*
 * The whole life of a runner, whose control socket is descriptor 0. `descriptor_limit` is the soft
 * limit of open files that its commands get, or -1 to leave it. Returns the exit status.
 */
int runner_main(long descriptor_limit);

#endif

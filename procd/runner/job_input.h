/*
 * The standard input of a background job that is written to while the job runs: a pipe, which never
 * blocks the runner.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <sys/types.h>

/*
 * Writes what the pipe takes now. A piece of at most PIPE_BUF bytes goes in whole or not at all
 * (pipe(7)), so no character is cut in two. The bytes, or -1 when nobody can read them any more.
 */
ssize_t job_input_write(int write_end, const char *data, size_t length);

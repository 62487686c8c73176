/*
 * The runners that wait for a command, and those whose next message procd waits for.
 *
 * A few idle ones are kept ready. When there is none, another is started at once and given the
 * command before it has woken up: its socket holds the command. Those that are too many after a
 * burst are let go a few seconds later.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stddef.h>

#include "procd/wire/protocol.h"

/* What became of a job that was handed to a runner: its answer, or NULL when the runner died first.
 */
typedef void job_answer_function(void *context, const struct incoming *answer);

/* What each runner is started with (runners.h). The texts must live as long as the process. */
struct pool_options {
    const char *run_directory;
    const char *directory; /* commands start in it */
    long descriptor_limit; /* the soft limit of open files that commands get */
    const char *limits;    /* the other limits of commands: resource_limits_format() */
    const char *user;      /* the numbers of their user: user_format(); NULL: ours */
};

/* Starts the first runners. 0, or -1 with errno. */
int pool_open(const struct pool_options *options);

/* Hands a RUN message on as it came. 0, or -1 with errno when no runner can be had. */
int pool_run(const struct incoming *run);

/*
 * Hands a background job on: `job` (JOB) with `directory` (borrowed), and the client's START as it
 * came. 0, and `answer` is called later, exactly once, and frees `context`; or -1 with errno, and
 * it is not.
 */
int pool_start_job(struct message *job, int directory, const struct incoming *start,
                   job_answer_function *answer, void *context);

/* So many runners have ended because they could not start: most likely the next cannot, either. */
void pool_note_failures(unsigned count);

/* How many runners in a row have died before they could take a command; 0 while they start.
 * Meanwhile procd starts them less and less often, and refuses a command for which there is none
 * with ECHILD. */
unsigned pool_failures(void);

/* How many runners wait for a command. */
size_t pool_idle_count(void);

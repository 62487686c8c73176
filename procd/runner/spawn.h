/*
 * Starts a command's shell, or the program that it has instead.
 */
#pragma once

#include <sys/types.h>

#include "procd/wire/protocol.h"
#include "procd/wire/words.h"

/*
 * The pipes of a command. A descriptor that has been given away or closed, or was not asked for, is
 * -1.
 *
 * The read ends are non-blocking, because a command may open its own pipe for reading and take what
 * poll(2) has reported. O_NONBLOCK belongs to the read end alone; the command's write ends block,
 * as it expects.
 */
struct command_pipes {
    int out_read, out_write;
    int err_read, err_write; /* not there when stderr goes where stdout goes */
    int watch;               /* of pipe_order_watch() */
};

#define COMMAND_PIPES_NONE                                                                         \
    {                                                                                              \
        -1, -1, -1, -1, -1                                                                         \
    }

/*
 * Makes the pipes of an opened message, all close-on-exec: one if it asks for merge_stderr,
 * otherwise two, which are watched if their order is asked for. *pipes is COMMAND_PIPES_NONE
 * before. 0, or -1 with errno; the caller closes what is open, also after a failure.
 */
int command_pipes_open(const struct incoming *command, struct command_pipes *pipes);
void command_pipes_close(struct command_pipes *pipes); /* those that are open */
void command_pipes_close_writers(struct command_pipes *pipes);

/* Makes one pipe of a command, close-on-exec. The end `ours`, which is one of the two, does not
 * block; a command may open the write end again, whoever its user is. As above. */
int command_pipe_open(int *read_end, int *write_end, const int *ours);

/* Commands start in the directory of this name (borrowed) or, where it is gone, in the root. */
void spawn_init(const char *directory);

/* Where the last command began, if it had no cwd of its own. */
const char *spawn_start_directory(void);

/* What the child does first, by system calls alone. -1 with errno ends it. */
typedef int spawn_begin_function(const void *context);

/*
 * Starts what the fields cmd or argument, cwd and env of an opened message say (program.h): in a
 * session of its own, with `input` as standard input (-1: ours, which is /dev/null), the pipes'
 * write ends, no other descriptor, default signals and our own environment overridden by env, where
 * the last of a name wins. The child calls `begin` first, unless it is NULL. 0 with *pid when the
 * shell is executing, or -1 with *error. 1 with *pid when it does not execute within `patience_ms`
 * (-1: some seconds), because its working directory hangs or another process has stopped it. To the
 * caller it is a shell like any other: it may execute later, or report on its standard error why it
 * cannot and end with 127; `command` must stay until it has ended. Single-threaded callers only,
 * with all signals blocked.
 */
int spawn_shell(const struct incoming *command, int input, const struct command_pipes *pipes,
                spawn_begin_function *begin, const void *context, int64_t patience_ms, pid_t *pid,
                struct spawn_error *error);

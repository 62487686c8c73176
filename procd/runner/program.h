/*
 * What a command's process executes: `sh -c -- cmd`, or the program of its argv, without a shell.
 *
 * Single-threaded callers only, as spawn.h.
 */
#pragma once

#include "procd/wire/protocol.h"

struct program {
    const char *path;        /* what is executed, if it has no `directories` */
    const char *directories; /* where it is looked for, as in PATH; NULL: nowhere else */
    const char **arguments;  /* owned; they end with NULL, and are borrowed from the command */
    int script;              /* owned: the memory file that the shell reads, or -1 */
};

#define PROGRAM_NONE                                                                               \
    {                                                                                              \
        .script = -1                                                                               \
    }

/* The descriptor that the shell has its script as, if there is one. */
#define PROGRAM_SCRIPT_DESCRIPTOR 3

/* Whether an opened message says what to execute. */
bool program_is_given(const struct incoming *command);

/*
 * Prepares what the command in an opened message executes in this environment (both borrowed).
 * *program is PROGRAM_NONE before. 0, or -1 with errno; the caller clears it also after a failure.
 */
int program_prepare(const struct incoming *command, char *const *environment,
                    struct program *program);
void program_clear(struct program *program);

/*
 * Executes it, in the child, by system calls alone. A program without a slash in its name is looked
 * for as by execvp(3), but a file that is no program of the kernel's is not given to a shell. It
 * returns only with -1 and errno.
 */
int program_execute(const struct program *program, char *const *environment);

/*
 * The command of an opened message as lists show it, cut when it is long: cmd, or argv as a shell
 * would read it. The caller frees it; NULL when memory is out.
 */
char *program_shown(const struct incoming *command);

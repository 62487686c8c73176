/*
 * The command beside the server, `nginx-sandbox -- CMD ARG...`: in a container that of the image.
 * It runs as SANDBOX_USER, with the server's standard descriptors and terminal. When it ends the
 * server ends.
 */
#pragma once

#include <sys/types.h>

#include "common/settings.h"

struct user;

struct image_command {
    char *const *arguments; /* NULL: no command */
    int terminal;           /* ours, while the command has it; -1 */
    pid_t pid;              /* 0: not started, or it has ended */
    int code;               /* once it has ended, as a shell reports it; -1 before */
};

/*
 * Starts it. 0, or -1 after one line. If it cannot be executed its process logs one line and ends
 * with 127 when the file is missing, otherwise with 126, as in a shell. Afterwards our standard
 * input is /dev/null, since it is the command's. `user` is the user to run it as, or NULL for ours.
 */
int image_command_start(struct image_command *command, const struct settings *settings,
                        const struct user *user);

/* Notes the wait status of waitpid(2) with WUNTRACED. When the command has ended the terminal is
 * ours again. */
void image_command_changed(struct image_command *command, int wait_status);

/*
 * The command beside the server, `nginx-sandbox -- CMD ARG...`: in a container the image's own. It
 * runs as SANDBOX_USER, with the server's standard descriptors and terminal, and its end is the
 * server's.
 */
#ifndef LAUNCHER_SUPERVISE_IMAGE_COMMAND_H
#define LAUNCHER_SUPERVISE_IMAGE_COMMAND_H

#include <sys/types.h>

#include "common/settings.h"

struct user;

struct image_command {
    char *const *arguments; /* NULL: there is none */
    int terminal;           /* ours, while the command has it; -1 */
    pid_t pid;              /* 0: not started, or it has ended */
    int code;               /* once it has ended, as a shell tells it; -1 before */
};

/*
 * Starts it: 0, or -1 after one line. One that cannot be executed says so in one line and ends with
 * 127 when it is not there, otherwise with 126, as in a shell. Standard input is /dev/null
 * afterwards: it is the command's. `user` is whom it runs as, or NULL: as we do.
 */
int image_command_start(struct image_command *command, const struct settings *settings,
                        const struct user *user);

/* Notes what waitpid(2) said of it, with WUNTRACED. When it has ended the terminal is ours again.
 */
void image_command_changed(struct image_command *command, int wait_status);

#endif

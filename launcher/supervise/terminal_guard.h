/*
 * What a command may not do to a terminal that it shares with the session of whoever started the
 * server.
 */
#ifndef LAUNCHER_SUPERVISE_TERMINAL_GUARD_H
#define LAUNCHER_SUPERVISE_TERMINAL_GUARD_H

/*
 * Keeps this process and what it starts from typing: no ioctl(2) puts bytes into the input of a
 * terminal, where the shell above would read them. It takes CAP_SYS_ADMIN or no_new_privs. 0, or -1
 * with errno. On a machine whose system calls it does not know it logs a warning.
 */
int terminal_guard(void);

#endif

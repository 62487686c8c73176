/*
 * Keeps a command from typing into a terminal that it shares with the session of the user who
 * started the server.
 */
#pragma once

/*
 * No ioctl(2) of this process or its children puts bytes into the input of a terminal, where the
 * shell above would read them. It takes CAP_SYS_ADMIN or no_new_privs. 0, or -1 with errno. On a
 * machine with unknown system calls it only logs a warning.
 */
int terminal_guard(void);

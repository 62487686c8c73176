/*
 * Descriptors by their numbers: 0 as the way to hand a socket to a program (FastCGI's and inetd's
 * convention), and their paths. A daemon begins with closefrom(STDERR_FILENO + 1): it inherits the
 * sockets of other services from its supervisor, and a shell cannot close large numbers.
 *
 * Thread-safe.
 */
#pragma once

/*
 * Moves the socket from descriptor 0 to a close-on-exec one above 2, puts /dev/null in its place,
 * and opens 1 and 2 if they are closed. The socket, or -1 with errno.
 */
int descriptor_take_stdin(void);

#define DESCRIPTOR_PATH_SIZE 32

/* Renders the path that leads to what is open, whatever has its name by now: of O_PATH descriptors,
 * too, which many calls do not take. Returns `path`. */
char *descriptor_path(int fd, char path[DESCRIPTOR_PATH_SIZE]);

/*
 * Descriptors by their numbers: 0 as the way to hand a socket to a program (FastCGI's and inetd's
 * convention), those that a program inherits, and their paths.
 *
 * Thread-safe.
 */
#pragma once

/*
 * Moves the socket from descriptor 0 to a close-on-exec one above 2, puts /dev/null in its place,
 * and opens 1 and 2 if they are closed. The socket, or -1 with errno.
 */
int descriptor_take_stdin(void);

/* Closes all descriptors from `first` on, also where the kernel has no close_range(2). 0, or -1
 * with errno. */
int descriptor_close_from(int first);

/* Closes all descriptors above standard error. A daemon begins with this: it inherits the sockets
 * of other services from its supervisor, and a shell cannot close large numbers. */
int descriptor_close_inherited(void);

#define DESCRIPTOR_PATH_SIZE 32

/* Renders the path that leads to what is open, whatever has its name by now: of O_PATH descriptors,
 * too, which many calls do not take. Returns `path`. */
char *descriptor_path(int fd, char path[DESCRIPTOR_PATH_SIZE]);

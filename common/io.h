/*
 * System calls that are retried on EINTR and, where their name says so, go on after short counts.
 */
#pragma once

#include <poll.h>
#include <stddef.h>
#include <sys/types.h>

/* Writes all `length` bytes to a blocking descriptor. 0, or -1 with errno. Thread-safe. */
int io_write_all(int fd, const void *data, size_t length);

/* Reads up to `length` bytes, fewer only at end of file. The count, or -1 with errno. Thread-safe.
 */
ssize_t io_read_full(int fd, void *data, size_t length);

/* One read(2), retried on EINTR. The count (0 at end of file), or -1 with errno. Thread-safe. */
ssize_t io_read_some(int fd, void *data, size_t length);

/* One pread(2), retried on EINTR. The count (0 at end of file), or -1 with errno. */
ssize_t io_read_at(int fd, void *data, size_t length, off_t offset);

/*
 * openat(2) of a regular file where a command may have put something else: never waits for a FIFO's
 * other end, follows no link. The descriptor (CLOEXEC), or -1 with errno: EBADMSG if it is no
 * regular file.
 */
int io_open_regular(int directory, const char *name, int flags);

/* Room for a random name whose prefix has at most 15 bytes. */
#define IO_RANDOM_NAME_SIZE 32

/* The prefix and 16 digits: a name that nobody can guess, so that nobody has it. 0, or -1 with
 * errno. Thread-safe. */
int io_random_name(char name[IO_RANDOM_NAME_SIZE], const char *prefix);

/*
 * Makes a file for reading and writing in a directory. It has no name, a mode less the umask, and
 * `name` is empty; where the file system has no such files (overlayfs before Linux 6.3) it has a
 * random one, which the caller removes, and nobody else may use it (0600). The descriptor
 * (CLOEXEC), or -1 with errno.
 */
int io_open_temporary(int directory, const char *prefix, mode_t mode,
                      char name[IO_RANDOM_NAME_SIZE]);

/* The same, of a file that never gets a name: a random one is removed at once. */
int io_open_nameless(int directory);

/*
 * poll(2) that does not fail: when it is interrupted, or gets no memory (which it logs before it
 * pauses), it returns 1 with nothing ready. Thread-safe.
 */
int io_poll(struct pollfd *polled, nfds_t count, int timeout_ms);

/* Sets or clears O_NONBLOCK. 0, or -1 with errno. */
int io_set_nonblocking(int fd, int enabled);

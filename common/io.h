/*
 * System calls that are retried on EINTR and, where their name says so, go on after short counts.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
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

/* Whether the errno of an open(2) with O_TMPFILE says that such files are not supported here. */
bool io_lacks_tmpfile(int error);

/*
 * poll(2) that does not fail: when it is interrupted, or gets no memory (which it logs before it
 * pauses), it returns 1 with nothing ready. Thread-safe.
 */
int io_poll(struct pollfd *polled, nfds_t count, int timeout_ms);

/* Sets or clears O_NONBLOCK. 0, or -1 with errno. */
int io_set_nonblocking(int fd, int enabled);

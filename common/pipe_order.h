/*
 * The order in which a program wrote to its two pipes, as far as it can be known.
 *
 * Two pipes carry no order, but they become readable in an order, and epoll(7) reports descriptors
 * in that order. So the pipe that became readable first is read first. A pipe is read until it is
 * empty, unless the other one became readable meanwhile: then what the first holds at that moment
 * is read, and no more, so that a writer without end does not hide the other pipe.
 *
 * What stays unknown: a program that turns from one pipe to the other and back before the reader
 * runs has left two pieces in the first pipe, and both are read before the piece in the second.
 *
 * A pipe_order belongs to one thread.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Begins to watch the read ends of two empty pipes: an epoll descriptor (CLOEXEC, owned by the
 * caller), or -1 with errno. Another process that has the same pipes may use it.
 */
int pipe_order_watch(const int fds[2]);

struct pipe_order {
    int watch;    /* borrowed; -1: only poll(2) says what is readable, and no order is kept */
    int fds[2];   /* borrowed, non-blocking; -1: closed, or there is none */
    int queue[2]; /* the pipes that may hold something, the earlier one first */
    size_t queued;
    int left;        /* bytes that the first in the queue may give before the other has its turn */
    bool measured;   /* `left` is valid */
    bool looked;     /* nothing has been read since the last look for edges */
    bool hung_up[2]; /* nobody writes any more: to be read to its end, which no edge reports */
    bool finishing;  /* only what the pipes hold now is read */
};

/* `watch` is from pipe_order_watch() for the same pipes, or -1. */
void pipe_order_init(struct pipe_order *order, int watch, const int fds[2]);

/* Notes what poll(2) reported about the two pipes. Call it after each poll(2). */
void pipe_order_wake(struct pipe_order *order, const struct pollfd polled[2]);

/*
 * Reads once, at most `size` bytes, from the pipe whose turn it is: *stream is its index. Returns
 * the bytes; 0 when that pipe has ended; -1 with EAGAIN (and no *stream) when neither has anything
 * for now; -1 with another errno when that pipe cannot be read. A pipe that has ended or failed is
 * never read again, and the caller closes it.
 */
ssize_t pipe_order_read(struct pipe_order *order, void *buffer, size_t size, int *stream);

/* From now on pipe_order_read() gives what the pipes hold already, and then EAGAIN: for pipes that
 * some process still writes to. */
void pipe_order_finish(struct pipe_order *order);

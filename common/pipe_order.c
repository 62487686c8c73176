/*
 * A queue of two, filled by epoll. Events are edge-triggered: with level-triggered ones a pipe that
 * was read stays in epoll's list until the next look at it, so its next piece would come before an
 * older one of the other pipe.
 *
 * An edge that comes after its bytes were read does the same, and write(2) makes the bytes readable
 * a moment before it reports the edge. So a pipe is read after its edge. Only when poll(2) reports
 * a pipe whose edge does not come it is read all the same: a writer may set O_DIRECT, which makes
 * reads short.
 */
#include "common/pipe_order.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "common/cleanup.h"
#include "common/io.h"

#define EDGE_MS 1 /* how long an edge may take after poll(2) has seen the bytes */

int pipe_order_watch(const int fds[2])
{
    cleanup_fd int watch = epoll_create1(EPOLL_CLOEXEC);
    if (watch < 0) {
        return -1;
    }
    for (uint32_t stream = 0; stream < 2; stream++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = stream};
        if (epoll_ctl(watch, EPOLL_CTL_ADD, fds[stream], &event) < 0) {
            return -1;
        }
    }
    return steal_fd(&watch);
}

void pipe_order_init(struct pipe_order *order, int watch, const int fds[2])
{
    *order = (struct pipe_order){.watch = watch, .fds = {fds[0], fds[1]}};
}

static void enqueue(struct pipe_order *order, int stream)
{
    bool queued = (order->queued > 0 && order->queue[0] == stream) ||
                  (order->queued > 1 && order->queue[1] == stream);
    if (!queued && order->fds[stream] >= 0) {
        order->queue[order->queued++] = stream;
    }
}

static void dequeue(struct pipe_order *order)
{
    order->queue[0] = order->queue[1];
    order->queued--;
    order->measured = false;
}

/* One pipe alone needs no order. */
static bool is_watched(const struct pipe_order *order)
{
    return order->watch >= 0 && !order->finishing && order->fds[0] >= 0 && order->fds[1] >= 0;
}

/* Queues what became readable since the last look. */
static void look(struct pipe_order *order)
{
    struct epoll_event events[2];
    /* If it fails, poll(2) says the same. */
    int count = is_watched(order) ? epoll_wait(order->watch, events, 2, 0) : 0;
    for (int i = 0; i < count; i++) {
        int stream = events[i].data.u32 == 0 ? 0 : 1;
        order->hung_up[stream] = (events[i].events & EPOLLHUP) != 0;
        enqueue(order, stream);
    }
    order->looked = true;
}

void pipe_order_wake(struct pipe_order *order, const struct pollfd polled[2])
{
    bool ready = polled[0].revents != 0 || polled[1].revents != 0;
    if (ready || !order->looked) {
        look(order);
    }
    if (ready && order->queued == 0 && is_watched(order)) {
        struct pollfd edge = {.fd = order->watch, .events = POLLIN};
        (void)io_poll(&edge, 1, EDGE_MS);
        look(order);
    }
    for (int stream = 0; stream < 2; stream++) {
        if (polled[stream].revents != 0 && (order->queued == 0 || !is_watched(order))) {
            enqueue(order, stream);
        }
    }
}

void pipe_order_finish(struct pipe_order *order)
{
    look(order);
    enqueue(order, 0);
    enqueue(order, 1);
    order->finishing = true;
    order->measured = false;
}

/* How many bytes the first pipe may give at once; 0: none any more. Where the other one waits, the
 * first gives what it held when the other was known to wait. */
static size_t allowance(struct pipe_order *order, size_t size)
{
    bool bounded = order->finishing || (order->queued == 2 && order->watch >= 0);
    if (bounded && !order->measured) {
        if (ioctl(order->fds[order->queue[0]], FIONREAD, &order->left) < 0) {
            order->left = 0;
        }
        order->measured = true;
        if (order->left == 0 && !order->finishing) {
            return size; /* perhaps it has ended, which only read(2) shows */
        }
    }
    return order->measured && (size_t)order->left < size ? (size_t)order->left : size;
}

/* The first pipe has given `count` of `wanted` bytes. */
static void note_read(struct pipe_order *order, size_t count, size_t wanted)
{
    int stream = order->queue[0];
    order->left -= order->measured ? (int)count : 0;
    if (count < wanted && !order->hung_up[stream]) {
        dequeue(order); /* empty */
    } else if (order->measured && order->left <= 0) {
        dequeue(order);
        if (!order->finishing) {
            enqueue(order, stream); /* what it holds now came after what the other held */
        }
    } else if (!order->finishing && order->queued == 2 && order->watch < 0) {
        dequeue(order); /* by turns, where no order is kept */
        enqueue(order, stream);
    }
}

ssize_t pipe_order_read(struct pipe_order *order, void *buffer, size_t size, int *stream)
{
    for (;;) {
        if (!order->looked) {
            look(order);
        }
        if (order->queued == 0) {
            errno = EAGAIN;
            return -1;
        }
        int first = order->queue[0];
        size_t wanted = allowance(order, size);
        ssize_t count = wanted == 0 ? 0 : io_read_some(order->fds[first], buffer, wanted);
        order->looked = false;
        if (wanted == 0 || (count < 0 && errno == EAGAIN)) {
            dequeue(order);
            continue;
        }
        *stream = first;
        if (count > 0) {
            note_read(order, (size_t)count, wanted);
        } else {
            dequeue(order);
            order->fds[first] = -1;
        }
        return count;
    }
}

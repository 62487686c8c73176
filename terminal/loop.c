#include "terminal/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "common/cleanup.h"
#include "common/clock.h"

#define EVENTS 64

static struct {
    int epoll;
    bool has_ended;
    SLIST_HEAD(, loop_garbage) garbage;
    SLIST_HEAD(, timer_queue) queues;
} loop = {.epoll = -1};

int loop_open(void)
{
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    return loop.epoll < 0 ? -1 : 0;
}

int loop_want(struct watched *watched, uint32_t events)
{
    if (watched->wanted == events || watched->fd < 0) {
        return 0;
    }
    struct epoll_event event = {.events = events, .data.ptr = watched};
    int order = events == 0 ? EPOLL_CTL_DEL : watched->wanted == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(loop.epoll, order, watched->fd, &event) < 0 && events != 0) {
        return -1;
    }
    watched->wanted = events;
    return 0;
}

void loop_close(struct watched *watched)
{
    (void)loop_want(watched, 0);
    close_fd(&watched->fd);
}

void loop_free(struct loop_garbage *garbage, void *object)
{
    garbage->object = object;
    SLIST_INSERT_HEAD(&loop.garbage, garbage, all);
}

static void empty_garbage(void)
{
    struct loop_garbage *garbage;
    while ((garbage = SLIST_FIRST(&loop.garbage)) != NULL) {
        SLIST_REMOVE_HEAD(&loop.garbage, all);
        free(garbage->object); /* the entry is part of it */
    }
}

/* ---- times ---- */

void timer_queue_init(struct timer_queue *queue, int64_t after_ms)
{
    queue->after_ms = after_ms;
    TAILQ_INIT(&queue->timers);
    SLIST_INSERT_HEAD(&loop.queues, queue, all);
}

void timer_set(struct timer *timer, struct timer_queue *queue)
{
    timer_clear(timer);
    timer->at = clock_monotonic_ms() + queue->after_ms;
    timer->queue = queue;
    TAILQ_INSERT_TAIL(&queue->timers, timer, all);
}

void timer_clear(struct timer *timer)
{
    if (timer->queue != NULL) {
        TAILQ_REMOVE(&timer->queue->timers, timer, all);
        timer->queue = NULL;
    }
}

/* Calls those whose time has come. How long to wait for the next one, or -1. */
static int call_timers(void)
{
    struct timer_queue *queue;
    struct timer *timer;
    int64_t now = clock_monotonic_ms();
    int64_t next = INT64_MAX;
    SLIST_FOREACH (queue, &loop.queues, all) {
        while ((timer = TAILQ_FIRST(&queue->timers)) != NULL && timer->at <= now) {
            timer_clear(timer);
            timer->due(timer);
        }
        if (timer != NULL && timer->at < next) {
            next = timer->at;
        }
    }
    if (next == INT64_MAX) {
        return -1;
    }
    return next - now > INT32_MAX ? INT32_MAX : (int)(next - now);
}

int loop_run(void)
{
    struct epoll_event events[EVENTS];
    while (!loop.has_ended) {
        int wait = call_timers();
        empty_garbage();
        int count = epoll_wait(loop.epoll, events, EVENTS, wait);
        if (count < 0 && errno != EINTR) {
            return -1;
        }
        for (int i = 0; i < count; i++) {
            struct watched *watched = events[i].data.ptr;
            if (watched->wanted != 0) {
                watched->ready(watched, events[i].events);
            }
        }
    }
    return 0;
}

void loop_end(void)
{
    loop.has_ended = true;
}

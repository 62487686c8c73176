/*
 * Level-triggered epoll: a descriptor with more to read is reported again in the next turn.
 */
#include "procd/daemon/loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "common/cleanup.h"
#include "common/clock.h"

#define EVENTS_MAX 64

static struct {
    int epoll;
    bool stopped;
    struct timer *timers;
    struct epoll_event events[EVENTS_MAX];
    int count; /* of events being served */
} loop = {.epoll = -1};

int loop_open(void)
{
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    return loop.epoll < 0 ? -1 : 0;
}

int loop_add(struct watch *watch)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = watch}};
    return epoll_ctl(loop.epoll, EPOLL_CTL_ADD, watch->fd, &event);
}

void loop_remove(struct watch *watch)
{
    for (int i = 0; i < loop.count; i++) {
        if (loop.events[i].data.ptr == watch) {
            loop.events[i].data.ptr = NULL;
        }
    }
    /* Explicitly, because a copy of the descriptor that a child holds for a moment would keep it
     * in. */
    (void)epoll_ctl(loop.epoll, EPOLL_CTL_DEL, watch->fd, NULL);
}

void loop_close(struct watch *watch)
{
    if (watch->fd >= 0) {
        loop_remove(watch);
        close_fd(&watch->fd);
    }
}

void loop_call_at(struct timer *timer, int64_t at)
{
    if (!timer->is_known) {
        timer->is_known = true;
        timer->next = loop.timers;
        loop.timers = timer;
    }
    timer->at = timer->at == 0 || at < timer->at ? at : timer->at;
}

/* How long until the first timer is due; -1 when none is set. */
static int wait_ms(void)
{
    int64_t first = 0;
    for (const struct timer *timer = loop.timers; timer != NULL; timer = timer->next) {
        if (timer->at != 0 && (first == 0 || timer->at < first)) {
            first = timer->at;
        }
    }
    if (first == 0) {
        return -1;
    }
    int64_t left = first - clock_monotonic_ms();
    return left > 0 ? (int)left : 0;
}

static void serve_timers(void)
{
    int64_t now = clock_monotonic_ms();
    for (struct timer *timer = loop.timers; timer != NULL; timer = timer->next) {
        if (timer->at != 0 && timer->at <= now) {
            timer->at = 0;
            timer->due();
        }
    }
}

static void serve_watches(bool urgent)
{
    for (int i = 0; i < loop.count; i++) {
        struct watch *watch = loop.events[i].data.ptr;
        if (watch != NULL && watch->urgent == urgent) {
            loop.events[i].data.ptr = NULL;
            watch->ready(watch);
        }
    }
}

int loop_run(void)
{
    while (!loop.stopped) {
        int count = epoll_wait(loop.epoll, loop.events, EVENTS_MAX, wait_ms());
        if (count < 0 && errno != EINTR) {
            return -1;
        }
        loop.count = count > 0 ? count : 0;
        serve_watches(true);
        serve_watches(false);
        loop.count = 0;
        serve_timers();
    }
    return 0;
}

void loop_stop(void)
{
    loop.stopped = true;
}

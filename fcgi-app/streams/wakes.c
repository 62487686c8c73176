#include "fcgi-app/streams/wakes.h"

#include <pthread.h>
#include <sys/eventfd.h>

static struct {
    pthread_mutex_t lock;
    int signal;
    STAILQ_HEAD(, waker) list;
} wakes = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .signal = -1, .list = STAILQ_HEAD_INITIALIZER(wakes.list)};

int wakes_open(void)
{
    wakes.signal = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wakes.signal;
}

void waker_wake(struct waker *waker)
{
    (void)pthread_mutex_lock(&wakes.lock);
    if (!waker->is_woken) {
        waker->is_woken = true;
        STAILQ_INSERT_TAIL(&wakes.list, waker, woken);
    }
    (void)pthread_mutex_unlock(&wakes.lock);
}

void wakes_ring(void)
{
    (void)eventfd_write(wakes.signal, 1); /* fails only after 2^64 times */
}

void wakes_signal(void)
{
    (void)pthread_mutex_lock(&wakes.lock);
    bool is_needed = !STAILQ_EMPTY(&wakes.list);
    (void)pthread_mutex_unlock(&wakes.lock);
    if (is_needed) {
        wakes_ring();
    }
}

void waker_forget(struct waker *waker)
{
    (void)pthread_mutex_lock(&wakes.lock);
    if (waker->is_woken) {
        STAILQ_REMOVE(&wakes.list, waker, waker, woken);
        waker->is_woken = false;
    }
    (void)pthread_mutex_unlock(&wakes.lock);
}

void wakes_take(void (*wake)(struct waker *waker))
{
    (void)pthread_mutex_lock(&wakes.lock);
    struct waker *waker;
    while ((waker = STAILQ_FIRST(&wakes.list)) != NULL) {
        STAILQ_REMOVE_HEAD(&wakes.list, woken);
        waker->is_woken = false;
        wake(waker);
    }
    (void)pthread_mutex_unlock(&wakes.lock);
}

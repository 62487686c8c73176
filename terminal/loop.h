/*
 * The one loop of the daemon: descriptors that become ready, and times that come. All functions of
 * the daemon run in its one thread, called from here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* A descriptor, part of the object that it concerns. */
struct watched {
    int fd;          /* -1: none */
    uint32_t wanted; /* what epoll reports; 0: nothing, not even an error */
    void (*ready)(struct watched *watched, uint32_t events);
};

/* Makes the loop. 0, or -1 with errno. */
int loop_open(void);

/* Reports these events (EPOLLIN and others) from now on, again and again as long as they hold. 0,
 * or -1 with errno, and then none is reported. With 0 events it cannot fail. */
int loop_want(struct watched *watched, uint32_t events);

/* Stops watching and closes the descriptor. Nothing more is reported. */
void loop_close(struct watched *watched);

/* Frees an object (by free(3)) once no event that was read already can be about it. */
struct loop_garbage {
    SLIST_ENTRY(loop_garbage) all;
    void *object;
};
void loop_free(struct loop_garbage *garbage, void *object);

/* ---- times ---- */

struct timer {
    int64_t at;                /* clock_monotonic_ms() */
    struct timer_queue *queue; /* NULL: it is not set */
    void (*due)(struct timer *timer);
    TAILQ_ENTRY(timer) all;
};

/* Timers that all run for the same time, so that the first to be set is the first to be due. */
struct timer_queue {
    int64_t after_ms;
    TAILQ_HEAD(, timer) timers;
    SLIST_ENTRY(timer_queue) all;
};

/* Call once for each queue. */
void timer_queue_init(struct timer_queue *queue, int64_t after_ms);

/* Sets the timer anew; it is due once. */
void timer_set(struct timer *timer, struct timer_queue *queue);
void timer_clear(struct timer *timer);

/* ---- */

/* Calls what is ready and due, until loop_end(). -1 with errno when it cannot wait. */
int loop_run(void);
void loop_end(void);

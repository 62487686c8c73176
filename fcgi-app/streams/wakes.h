/*
 * How other threads wake streams: what is to be woken goes into a list, which the streams' thread
 * takes on its next round.
 */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

/* Embedded in what can be woken. Begins with zeros. */
struct waker {
    bool is_woken;
    STAILQ_ENTRY(waker) woken;
};

/* Makes the descriptor that epoll(7) reports after each wakes_ring(), as EPOLLET: nobody reads
 * it. It stays open. -1 with errno. Call once, before threads. */
int wakes_open(void);

/* Puts it into the list. Any thread but the streams' own calls wakes_signal() afterwards, also
 * after watch_table_read(). Both are thread-safe and do not wait. */
void waker_wake(struct waker *waker);
void wakes_signal(void);

/* Has the streams' thread go round, for what it finds elsewhere than in the list. Thread-safe. */
void wakes_ring(void);

/* Takes it out of the list, if it is there: nobody wakes it any more. Thread-safe. */
void waker_forget(struct waker *waker);

/* Empties the list, and calls `wake` for each that was in it. `wake` must call none of these. */
void wakes_take(void (*wake)(struct waker *waker));

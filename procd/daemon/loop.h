/*
 * procd's event loop: one epoll, watches that are part of the object they wake, and a few timers.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Calls `ready` when its descriptor is readable, or closed at the other end. */
struct watch {
    int fd; /* owned by the object around; -1 when the watch is not in the loop */
    bool urgent;
    void (*ready)(struct watch *watch);
};

/* Calls `due` once, when clock_monotonic_ms() is `at`, which is 0 from then on. 0: never. It lives
 * as long as the loop. */
struct timer {
    int64_t at;
    void (*due)(void);
    bool is_known; /* both are the loop's */
    struct timer *next;
};

/* 0, or -1 with errno. One loop for the process. */
int loop_open(void);

/*
 * Urgent watches are served before all others that became ready with them: a runner's message comes
 * before the request of a client that may know its content already. 0, or -1 with errno.
 */
int loop_add(struct watch *watch);

/* Takes the watch out and leaves its descriptor open; an event of it that is still to be served is
 * forgotten. It may be added again. */
void loop_remove(struct watch *watch);

/* The same, and closes the descriptor, if there is one. */
void loop_close(struct watch *watch);

/* Sets a timer that is not set, or is set to a later time. */
void loop_call_at(struct timer *timer, int64_t at);

/* Runs until loop_stop. 0, or -1 with errno. */
int loop_run(void);
void loop_stop(void);

/*
 * Watching the directories of jobs: one inotify instance and one dispatcher thread for the whole
 * process (the kernel allows a user only 128 instances), one watch for each directory, however many
 * watchers it has.
 */
#ifndef FCGI_APP_WATCH_H
#define FCGI_APP_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>

struct watch;

/* Lives in the thread that waits; its fields belong to watch.c. */
struct watcher {
    int fd;            /* readable when something has changed; -1 when polling */
    bool polling;      /* the kernel's limits are reached: look every WATCH_POLL_MS */
    atomic_bool woken; /* fd was made readable and watcher_rearm() has not been called since */
    struct watch *watch;
    struct watcher *next;
    struct watcher **link; /* what points at this one */
};

#define WATCH_POLL_MS 25

/* Makes the instance and its thread. 0, or -1 with errno: all watchers will poll then. Call once.
 */
int watch_init(void);

/*
 * Begins to watch a directory: from now on each change of a file in it, and its removal, make
 * watcher->fd readable. Cannot fail: where the kernel's limits are reached the watcher polls.
 */
void watcher_open(struct watcher *watcher, int directory_fd);
void watcher_close(struct watcher *watcher);

/* Makes watcher->fd unreadable again. Look at the files after this, not before. */
void watcher_rearm(struct watcher *watcher);

#endif

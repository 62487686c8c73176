/*
 * Watches directories for changes by inotify: one instance for all of the process, of which the
 * kernel allows a user only 128, and one watch for each directory, however many watchers it has.
 * Several threads add watchers and read what the kernel reports: all functions but
 * watch_table_init() are called with the table locked.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/queue.h>

/* Embedded in what watches a directory. */
struct watcher {
    int descriptor; /* of its directory's watch; -1 when it watches nothing */
    /* Told of each report of the kernel about its directory, also of kinds that other watchers of
     * that directory asked for, and of IN_Q_OVERFLOW. The table is locked. It must not add or
     * remove watchers, and not wait. */
    void (*changed)(struct watcher *watcher, const struct inotify_event *event);
    LIST_ENTRY(watcher) siblings;
};

LIST_HEAD(watcher_list, watcher);

#define WATCH_BUCKETS 8192

struct watch_table {
    int fd; /* the inotify instance, for poll(2); -1: nothing can be watched */
    pthread_mutex_t lock;
    struct watcher_list buckets[WATCH_BUCKETS];
};

/* 0, or -1 with errno: the table is empty then and every watcher_add() fails. Close `fd` when there
 * are no watchers any more. */
int watch_table_init(struct watch_table *table);

void watch_table_lock(struct watch_table *table);
void watch_table_unlock(struct watch_table *table);

/*
 * From now on watch_table_read() reports to the watcher what `mask` (inotify(7)) names. It may
 * watch already: then it watches this directory in the place of the other. 0, or -1 with errno:
 * EACCES, or ENOSPC when a limit of the kernel is reached; then it watches nothing.
 */
int watcher_add(struct watch_table *table, struct watcher *watcher, int directory_fd,
                uint32_t mask);
void watcher_remove(struct watch_table *table, struct watcher *watcher);

/* Tells the watchers of everything that has happened since the last call; does not wait. 0, or -1
 * with errno. */
int watch_table_read(struct watch_table *table);

/*
 * Watches directories for changes by inotify: one instance, of which the kernel allows a user only
 * 128, and one watch for each directory, however many watchers it has. A table belongs to one
 * thread.
 */
#pragma once

#include <sys/queue.h>

/* Embedded in what watches a directory. */
struct watcher {
    int descriptor; /* of its directory's watch; -1 when it watches nothing */
    LIST_ENTRY(watcher) siblings;
};

LIST_HEAD(watcher_list, watcher);

#define WATCH_BUCKETS 256

struct watch_table {
    int fd; /* the inotify instance, for poll(2); -1: nothing can be watched */
    struct watcher_list buckets[WATCH_BUCKETS];
};

/* 0, or -1 with errno: the table is empty then and every watcher_add() fails. Close `fd` when there
 * are no watchers any more. */
int watch_table_init(struct watch_table *table);

/*
 * From now on each change of a file in the directory, and its removal, is reported by
 * watch_table_read(). 0, or -1 with errno when a limit of the kernel is reached.
 */
int watcher_add(struct watch_table *table, struct watcher *watcher, int directory_fd);
void watcher_remove(struct watch_table *table, struct watcher *watcher);

/* Calls `changed` for the watchers of everything that changed since the last call; does not wait.
 * `changed` must not add or remove watchers. 0, or -1 with errno. */
int watch_table_read(struct watch_table *table, void (*changed)(struct watcher *watcher));

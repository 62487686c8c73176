/*
 * From inotify events to watchers. A directory is known by its watch descriptor, which is the same
 * for every descriptor and path of one directory.
 */
#include "fcgi-app/streams/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/io.h"

#define EVENTS_SIZE 16384
#define CHANGES     (IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR)

/* One watched directory. */
struct watch {
    int descriptor;
    LIST_HEAD(, watcher) watchers;
    LIST_ENTRY(watch) siblings;
};

int watch_table_init(struct watch_table *table)
{
    *table = (struct watch_table){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    return table->fd < 0 ? -1 : 0;
}

void watch_table_clear(struct watch_table *table)
{
    close_fd(&table->fd);
}

static struct watch_list *watch_bucket(struct watch_table *table, int descriptor)
{
    return &table->buckets[(unsigned)descriptor % WATCH_BUCKETS];
}

static struct watch *watch_find(struct watch_table *table, int descriptor)
{
    struct watch *watch;
    LIST_FOREACH (watch, watch_bucket(table, descriptor), siblings) {
        if (watch->descriptor == descriptor) {
            break;
        }
    }
    return watch;
}

int watcher_add(struct watch_table *table, struct watcher *watcher, int directory_fd)
{
    char path[DESCRIPTOR_PATH_SIZE];
    watcher->watch = NULL;
    int descriptor = inotify_add_watch(table->fd, descriptor_path(directory_fd, path), CHANGES);
    if (descriptor < 0) {
        return -1;
    }
    struct watch *watch = watch_find(table, descriptor);
    if (watch == NULL) {
        watch = malloc(sizeof(*watch));
        if (watch == NULL) {
            (void)inotify_rm_watch(table->fd, descriptor);
            return -1;
        }
        *watch = (struct watch){.descriptor = descriptor};
        LIST_INSERT_HEAD(watch_bucket(table, descriptor), watch, siblings);
    }
    watcher->watch = watch;
    LIST_INSERT_HEAD(&watch->watchers, watcher, siblings);
    return 0;
}

void watcher_remove(struct watch_table *table, struct watcher *watcher)
{
    struct watch *watch = watcher->watch;
    if (watch == NULL) {
        return;
    }
    watcher->watch = NULL;
    LIST_REMOVE(watcher, siblings);
    if (LIST_EMPTY(&watch->watchers)) {
        LIST_REMOVE(watch, siblings);
        (void)inotify_rm_watch(table->fd, watch->descriptor); /* may be gone with its directory */
        free(watch);
    }
}

static void notify(const struct watch *watch, void (*changed)(struct watcher *watcher))
{
    struct watcher *watcher;
    LIST_FOREACH (watcher, &watch->watchers, siblings) {
        changed(watcher);
    }
}

/* For an overflow of the queue: anything may have changed. */
static void notify_all(const struct watch_table *table, void (*changed)(struct watcher *watcher))
{
    for (size_t i = 0; i < WATCH_BUCKETS; i++) {
        const struct watch *watch;
        LIST_FOREACH (watch, &table->buckets[i], siblings) {
            notify(watch, changed);
        }
    }
}

/* A buffer full of events, of which a busy log fills many in a row. */
static void notify_of_events(struct watch_table *table, const char *events, size_t length,
                             void (*changed)(struct watcher *watcher))
{
    int last = -1;
    const struct inotify_event *event;
    for (size_t at = 0; at < length; at += sizeof(*event) + event->len) {
        event = (const struct inotify_event *)(const void *)(events + at);
        if ((event->mask & IN_Q_OVERFLOW) != 0) {
            notify_all(table, changed);
        } else if (event->wd != last) {
            last = event->wd;
            const struct watch *watch = watch_find(table, event->wd);
            if (watch != NULL) { /* an event may be older than the removal of its watch */
                notify(watch, changed);
            }
        }
    }
}

int watch_table_read(struct watch_table *table, void (*changed)(struct watcher *watcher))
{
    _Alignas(struct inotify_event) char events[EVENTS_SIZE];
    for (;;) {
        ssize_t length = io_read_some(table->fd, events, sizeof(events));
        if (length <= 0) {
            return length < 0 && errno == EAGAIN ? 0 : -1;
        }
        notify_of_events(table, events, (size_t)length, changed);
    }
}

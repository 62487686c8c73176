/*
 * From inotify events to watchers. A directory is known by its watch descriptor, which is the same
 * for every descriptor and path of one directory. So all watchers of one are in the same bucket,
 * and the kernel's mask is the union of theirs. It may stay larger than that when one has left.
 */
#include "fcgi-app/streams/watch.h"

#include <errno.h>
#include <stddef.h>

#include "common/descriptor.h"
#include "common/io.h"

#define EVENTS_SIZE 16384

int watch_table_init(struct watch_table *table)
{
    *table = (struct watch_table){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK),
                                  .lock = PTHREAD_MUTEX_INITIALIZER};
    return table->fd < 0 ? -1 : 0;
}

void watch_table_lock(struct watch_table *table)
{
    (void)pthread_mutex_lock(&table->lock);
}

void watch_table_unlock(struct watch_table *table)
{
    (void)pthread_mutex_unlock(&table->lock);
}

static struct watcher_list *watch_bucket(struct watch_table *table, int descriptor)
{
    return &table->buckets[(unsigned)descriptor % WATCH_BUCKETS];
}

/* A watcher of this directory; NULL if it has none. */
static struct watcher *find_watcher(struct watch_table *table, int descriptor)
{
    struct watcher *watcher;
    LIST_FOREACH (watcher, watch_bucket(table, descriptor), siblings) {
        if (watcher->descriptor == descriptor) {
            break;
        }
    }
    return watcher;
}

int watcher_add(struct watch_table *table, struct watcher *watcher, int directory_fd, uint32_t mask)
{
    char path[DESCRIPTOR_PATH_SIZE];
    int descriptor = inotify_add_watch(table->fd, descriptor_path(directory_fd, path),
                                       mask | IN_ONLYDIR | IN_MASK_ADD);
    if (descriptor >= 0 && descriptor == watcher->descriptor) {
        return 0;
    }
    int number = errno;
    watcher_remove(table, watcher);
    watcher->descriptor = descriptor;
    errno = number;
    if (descriptor < 0) {
        return -1;
    }
    LIST_INSERT_HEAD(watch_bucket(table, descriptor), watcher, siblings);
    return 0;
}

void watcher_remove(struct watch_table *table, struct watcher *watcher)
{
    if (watcher->descriptor < 0) {
        return;
    }
    LIST_REMOVE(watcher, siblings);
    if (find_watcher(table, watcher->descriptor) == NULL) {
        (void)inotify_rm_watch(table->fd, watcher->descriptor); /* may be gone with its directory */
    }
    watcher->descriptor = -1;
}

/* Of one directory; of all for -1, which the kernel reports when its queue has overflown. */
static void notify(const struct watch_table *table, const struct inotify_event *event)
{
    size_t first = event->wd < 0 ? 0 : (size_t)event->wd % WATCH_BUCKETS;
    size_t end = event->wd < 0 ? WATCH_BUCKETS : first + 1;
    for (size_t i = first; i < end; i++) {
        struct watcher *watcher;
        LIST_FOREACH (watcher, &table->buckets[i], siblings) {
            if (event->wd < 0 || watcher->descriptor == event->wd) {
                watcher->changed(watcher, event);
            }
        }
    }
}

/* A buffer full of events. Some may be older than the removal of their watch. */
static void notify_of_events(const struct watch_table *table, const char *events, size_t length)
{
    const struct inotify_event *event;
    for (size_t at = 0; at < length; at += sizeof(*event) + event->len) {
        event = (const struct inotify_event *)(const void *)(events + at);
        notify(table, event);
    }
}

int watch_table_read(struct watch_table *table)
{
    _Alignas(struct inotify_event) char events[EVENTS_SIZE];
    for (;;) {
        ssize_t length = io_read_some(table->fd, events, sizeof(events));
        if (length <= 0) {
            return length < 0 && errno == EAGAIN ? 0 : -1;
        }
        notify_of_events(table, events, (size_t)length);
    }
}

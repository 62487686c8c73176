/*
 * The dispatcher: inotify events in, eventfds out. A directory is found by its watch descriptor,
 * which is the same for every descriptor and path of one directory.
 */
#include "fcgi-app/watch.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/logger.h"

#define BUCKETS      256 /* a power of 2 */
#define EVENTS_SIZE  16384
#define STACK_SIZE   ((size_t)65536)
#define CHANGES      (IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR)
#define FD_PATH_SIZE 32

/* One watched directory. */
struct watch {
    int descriptor;
    struct watcher *watchers;
    struct watch *next;
};

static struct {
    int fd; /* the inotify instance */
    pthread_mutex_t lock;
    struct watch *buckets[BUCKETS];
} watches = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_flag limit_told = ATOMIC_FLAG_INIT;

/* What points at the watch with this descriptor, or at the NULL where it would be. */
static struct watch **find(int descriptor)
{
    struct watch **link = &watches.buckets[(unsigned)descriptor % BUCKETS];
    while (*link != NULL && (*link)->descriptor != descriptor) {
        link = &(*link)->next;
    }
    return link;
}

static void wake(struct watcher *watcher)
{
    /* One write is enough until the watcher has looked: a busy log wakes nobody who is awake. */
    if (!atomic_exchange(&watcher->woken, true) && eventfd_write(watcher->fd, 1) < 0) {
        log_line("cannot wake a log stream: %m");
    }
}

static void wake_all_of(const struct watch *watch)
{
    for (struct watcher *watcher = watch->watchers; watcher != NULL; watcher = watcher->next) {
        wake(watcher);
    }
}

/* Events were lost: anything may have changed. */
static void wake_everybody(void)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct watch *watch = watches.buckets[i]; watch != NULL; watch = watch->next) {
            wake_all_of(watch);
        }
    }
}

static void dispatch_events(const char *events, size_t length)
{
    int last = -1;
    const struct inotify_event *event;
    for (size_t at = 0; at < length; at += sizeof(*event) + event->len) {
        event = (const struct inotify_event *)(const void *)(events + at);
        if ((event->mask & IN_Q_OVERFLOW) != 0) {
            wake_everybody();
        } else if (event->wd != last) {
            const struct watch *watch = *find(event->wd);
            if (watch != NULL) {
                wake_all_of(watch);
            }
            last = event->wd;
        }
    }
}

static void *dispatch(void *unused)
{
    (void)unused;
    _Alignas(struct inotify_event) char events[EVENTS_SIZE];
    for (;;) {
        ssize_t length = io_read_some(watches.fd, events, sizeof(events));
        if (length <= 0) {
            log_line("inotify: %m");
            abort(); /* cannot happen; without it streams would be silent for ever */
        }
        pthread_mutex_lock(&watches.lock);
        dispatch_events(events, (size_t)length);
        pthread_mutex_unlock(&watches.lock);
    }
}

int watch_init(void)
{
    cleanup_fd int fd = inotify_init1(IN_CLOEXEC);
    pthread_attr_t attributes;
    pthread_t thread;
    if (fd < 0) {
        return -1;
    }
    int error = pthread_attr_init(&attributes);
    if (error == 0) {
        watches.fd = fd;
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
        error = pthread_create(&thread, &attributes, dispatch, NULL);
        (void)pthread_attr_destroy(&attributes);
    }
    if (error != 0) {
        watches.fd = -1;
        errno = error;
        return -1;
    }
    (void)steal_fd(&fd);
    return 0;
}

/* Adds the watcher to the directory's watch, making that if it is the first. 0 or -1; under lock.
 */
static int join(struct watcher *watcher, int directory_fd)
{
    char path[FD_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", directory_fd);
    int descriptor = inotify_add_watch(watches.fd, path, CHANGES);
    if (descriptor < 0) {
        return -1;
    }
    struct watch **link = find(descriptor);
    if (*link == NULL) {
        struct watch *watch = malloc(sizeof(*watch));
        if (watch == NULL) {
            (void)inotify_rm_watch(watches.fd, descriptor);
            return -1;
        }
        *watch = (struct watch){.descriptor = descriptor};
        *link = watch;
    }
    watcher->watch = *link;
    watcher->next = watcher->watch->watchers;
    watcher->link = &watcher->watch->watchers;
    if (watcher->next != NULL) {
        watcher->next->link = &watcher->next;
    }
    watcher->watch->watchers = watcher;
    return 0;
}

void watcher_open(struct watcher *watcher, int directory_fd)
{
    *watcher = (struct watcher){.fd = -1, .polling = true};
    if (watches.fd < 0) {
        return;
    }
    watcher->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watcher->fd >= 0) {
        pthread_mutex_lock(&watches.lock);
        watcher->polling = join(watcher, directory_fd) < 0;
        pthread_mutex_unlock(&watches.lock);
    }
    if (watcher->polling) {
        if (!atomic_flag_test_and_set(&limit_told)) {
            log_line("cannot watch a log, polling instead: %m");
        }
        close_fd(&watcher->fd);
    }
}

static void leave(struct watcher *watcher)
{
    struct watch *watch = watcher->watch;
    *watcher->link = watcher->next;
    if (watcher->next != NULL) {
        watcher->next->link = watcher->link;
    }
    if (watch->watchers == NULL) {
        *find(watch->descriptor) = watch->next;
        (void)inotify_rm_watch(watches.fd, watch->descriptor); /* gone already with its directory */
        free(watch);
    }
}

void watcher_close(struct watcher *watcher)
{
    if (!watcher->polling) {
        pthread_mutex_lock(&watches.lock);
        leave(watcher);
        pthread_mutex_unlock(&watches.lock);
    }
    close_fd(&watcher->fd);
}

void watcher_rearm(struct watcher *watcher)
{
    eventfd_t count;
    if (!watcher->polling) {
        (void)eventfd_read(watcher->fd, &count); /* EAGAIN: it was not readable */
        atomic_store(&watcher->woken, false);
    }
}

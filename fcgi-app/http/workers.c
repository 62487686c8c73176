/*
 * Connections that have no request wait in epoll, each for one event. A worker with a turn takes
 * the next that has one, serves it, and puts it back. So under load a worker finds its next request
 * ready, where a thread for each connection would have to be woken for each request: a wake-up of a
 * thread costs more than all that a short request does (docs/benchmarks.md).
 *
 * A worker gives its turn away before a request that lasts. For others that take longer than they
 * should (a file system that does not answer), a thread looks every few milliseconds while requests
 * wait, and gives the turn of a slow one to another. A worker without a turn stays with its
 * connection for a moment, since the next request there is probably as slow, and then waits for a
 * turn.
 */
#include "fcgi-app/http/workers.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/detached_thread.h"
#include "common/io.h"
#include "common/logger.h"
#include "fcgi-app/http/fcgi.h"

#define TURNS_MOST 4   /* nginx has no more workers (launcher/render/render.c) */
#define SLOW_MS    5   /* a request that takes longer gives its worker's turn away */
#define STUCK_MS   100 /* so long after its beginning a request counts as one that keeps its turn */
#define STAY_MS    200 /* with a connection after a slow request */
#define REST_MS    1000 /* without a turn, before a worker ends */

struct worker {
    LIST_ENTRY(worker) entry;
    atomic_bool has_turn;
    _Atomic int64_t busy_since; /* ms; 0 while it waits for a request */
    bool lasts;                 /* the request said so; the worker's own */
};

static struct {
    int epoll;
    unsigned turns; /* how many there are */
    pthread_mutex_t lock;
    pthread_cond_t turn_is_free;
    /* under the lock */
    LIST_HEAD(, worker) all;
    unsigned taken;   /* turns */
    unsigned resting; /* workers that wait for a turn */
    bool is_short;    /* the last thread could not be made, and the log says so */
} workers = {
    .epoll = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .turn_is_free = PTHREAD_COND_INITIALIZER};

static _Thread_local struct worker *self;

/* nginx gave up: what it has asked is not begun. */
static void close_given_up(int connection)
{
    (void)close(connection);
}

static void *serve_connections(void *unused);

/* ---- turns ---- */

/* Makes a worker, with a turn; call it with the lock held. 0, or an errno. */
static int add_worker(void)
{
    int error = detached_thread_start(serve_connections, NULL);
    workers.taken += error == 0;
    if (error != 0 && !workers.is_short) {
        errno = error;
        log_at(LOG_WARNING, "cannot make a thread: %m");
    }
    workers.is_short = error != 0;
    return error;
}

/* Takes a worker's turn away for another; call it with the lock held. False when nobody can have
 * it. The turn goes last: a worker that saw itself without it meanwhile would wait for one, and end
 * with it. */
static bool pass_turn(struct worker *worker)
{
    if (!atomic_load(&worker->has_turn)) {
        return true;
    }
    bool rests_one = workers.resting > workers.turns - workers.taken;
    if (!rests_one && add_worker() != 0) {
        return false;
    }
    workers.taken--;
    atomic_store(&worker->has_turn, false);
    if (rests_one) {
        pthread_cond_signal(&workers.turn_is_free);
    }
    return true;
}

/* Waits for a turn, with the lock held. False when there was none for a while. */
static bool await_turn(void)
{
    struct timespec until;
    int error = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += REST_MS / 1000;
    workers.resting++;
    while (workers.taken == workers.turns && error == 0) {
        error =
            pthread_cond_clockwait(&workers.turn_is_free, &workers.lock, CLOCK_MONOTONIC, &until);
    }
    workers.resting--;
    return workers.taken < workers.turns;
}

/* False when the worker is one too many: it is not in the list any more. */
static bool obtain_turn(struct worker *worker)
{
    pthread_mutex_lock(&workers.lock);
    bool taken = await_turn();
    if (taken) {
        workers.taken++;
        atomic_store(&worker->has_turn, true);
    } else {
        LIST_REMOVE(worker, entry);
    }
    pthread_mutex_unlock(&workers.lock);
    return taken;
}

bool workers_leave(void)
{
    self->lasts = true;
    if (!atomic_load(&self->has_turn)) {
        return true;
    }
    pthread_mutex_lock(&workers.lock);
    bool passed = pass_turn(self);
    pthread_mutex_unlock(&workers.lock);
    return passed;
}

/* Gives the turns of workers away whose requests take too long. False when such requests have all
 * turns. */
static bool relieve_slow_workers(void)
{
    struct worker *worker;
    unsigned stuck = 0;
    int64_t now = clock_monotonic_ms();
    pthread_mutex_lock(&workers.lock);
    LIST_FOREACH (worker, &workers.all, entry) {
        int64_t since = atomic_load(&worker->busy_since);
        if (since != 0 && now - since >= SLOW_MS && !pass_turn(worker)) {
            stuck += now - since >= STUCK_MS; /* it keeps its turn, until the next look */
        }
    }
    bool relieved = stuck < workers.turns;
    pthread_mutex_unlock(&workers.lock);
    return relieved;
}

static bool requests_wait(int timeout_ms)
{
    struct pollfd waiting = {.fd = workers.epoll, .events = POLLIN};
    return poll(&waiting, 1, timeout_ms) > 0;
}

/* ---- those that wait too long ---- */

/* Refuses the request that waits next, if it has come as a whole in time. */
static void refuse_waiting(void)
{
    struct epoll_event event;
    if (epoll_wait(workers.epoll, &event, 1, 0) < 1) {
        return;
    }
    if ((event.events & (EPOLLRDHUP | EPOLLHUP)) != 0) {
        (void)close(event.data.fd); /* as in serve_connections() */
        return;
    }
    fcgi_refuse_request(event.data.fd);
}

static void *watch_workers(void *unused)
{
    const struct timespec pause = {.tv_nsec = SLOW_MS * 1000000L};
    (void)unused;
    for (;;) {
        (void)requests_wait(-1);
        (void)nanosleep(&pause, NULL);
        if (requests_wait(0) && !relieve_slow_workers()) {
            refuse_waiting();
        }
    }
    return NULL;
}

/* ---- connections ---- */

/* Has a connection wait for its next request. */
static void await_request(int fd, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.fd = fd};
    if (epoll_ctl(workers.epoll, operation, fd, &event) < 0) {
        log_at(LOG_WARNING, "a connection was dropped: epoll_ctl: %m");
        (void)close(fd);
    }
}

void workers_add(int fd)
{
    await_request(fd, EPOLL_CTL_ADD);
}

void workers_resume(int fd)
{
    await_request(fd, EPOLL_CTL_MOD);
}

/* Whether the worker stays with the connection after a request, and another has come meanwhile. */
static bool stays(const struct worker *worker, int fd, int64_t started)
{
    bool was_slow = worker->lasts || clock_monotonic_ms() - started >= SLOW_MS;
    struct pollfd connection = {.fd = fd, .events = POLLIN};
    return was_slow && !atomic_load(&worker->has_turn) && io_poll(&connection, 1, STAY_MS) > 0;
}

static void serve(struct worker *worker, int fd)
{
    int64_t now;
    do {
        now = clock_monotonic_ms();
        worker->lasts = false;
        atomic_store(&worker->busy_since, now);
        if (!fcgi_serve_request(fd)) {
            return;
        }
    } while (stays(worker, fd, now));
    await_request(fd, EPOLL_CTL_MOD);
}

static void *serve_connections(void *unused)
{
    struct worker worker = {.has_turn = true};
    (void)unused;
    self = &worker;
    pthread_mutex_lock(&workers.lock);
    LIST_INSERT_HEAD(&workers.all, &worker, entry);
    pthread_mutex_unlock(&workers.lock);
    while (atomic_load(&worker.has_turn) || obtain_turn(&worker)) {
        struct epoll_event event;
        if (epoll_wait(workers.epoll, &event, 1, -1) < 1) {
            continue;
        }
        if ((event.events & (EPOLLRDHUP | EPOLLHUP)) != 0) {
            close_given_up(event.data.fd);
        } else {
            serve(&worker, event.data.fd);
        }
        atomic_store(&worker.busy_since, 0);
    }
    self = NULL;
    return NULL;
}

int workers_start(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    workers.turns = processors < 1            ? 1
                    : processors > TURNS_MOST ? TURNS_MOST
                                              : (unsigned)processors;
    workers.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (workers.epoll < 0) {
        return -1;
    }
    int error = detached_thread_start(watch_workers, NULL);
    pthread_mutex_lock(&workers.lock);
    while (error == 0 && workers.taken < workers.turns) {
        error = add_worker();
    }
    pthread_mutex_unlock(&workers.lock);
    errno = error;
    return error == 0 ? 0 : -1;
}

/*
 * One thread serves one connection of nginx, which carries one request after the other. A few
 * threads wait for connections; one that has got a connection leaves the others to wait, and makes
 * another if it was the last.
 */
#include "fcgi-app/http/acceptors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/descriptor.h"
#include "common/detached_thread.h"
#include "common/io.h"
#include "common/logger.h"
#include "fcgi-app/http/fcgi.h"

/* Threads that wait for a connection: this many to begin with, and that many stay. */
#define ACCEPTORS_FIRST 4
#define ACCEPTORS_MAX   16U

#define ACCEPT_BACKOFF_MS 100

static struct {
    int listener;
    int spare; /* see refuse_with_spare() */
    pthread_mutex_t lock;
    unsigned count; /* threads that wait for a connection, or will at once; under lock */
} acceptors = {.listener = -1, .spare = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static void *serve_connections(void *unused);

/* Makes a thread that accepts; call with acceptors.lock held. 0, or an errno. */
static int add_acceptor(void)
{
    int error = detached_thread_start(serve_connections, NULL);
    acceptors.count += error == 0;
    return error;
}

/* The client gave up while it waited in the backlog, and may have asked elsewhere: its request is
 * not begun. */
static bool is_abandoned(int fd)
{
    struct pollfd connection = {.fd = fd, .events = POLLRDHUP};
    return poll(&connection, 1, 0) > 0;
}

/*
 * No descriptor is left for a connection: gives up the spare one, so that who waits is refused
 * instead of waiting for as long as other requests last. One thread at a time.
 */
static void refuse_with_spare(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct timeval patience = {.tv_sec = 1}; /* with one that sends no request */
    struct pollfd waiting = {.fd = acceptors.listener, .events = POLLIN};
    pthread_mutex_lock(&lock);
    if (poll(&waiting, 1, ACCEPT_BACKOFF_MS) > 0) {
        close_fd(&acceptors.spare);
        int fd = accept4(acceptors.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
            fcgi_serve_connection(fd, true);
        } else {
            (void)poll(NULL, 0, ACCEPT_BACKOFF_MS);
        }
        acceptors.spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    pthread_mutex_unlock(&lock);
}

/* Waits for a connection, also while the process or the system has no descriptors left. */
static int accept_connection(void)
{
    for (bool warned = false;;) {
        int fd = accept4(acceptors.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && !is_abandoned(fd)) {
            return fd;
        }
        if (fd >= 0) {
            (void)close(fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) {
            continue;
        }
        if (!warned) {
            log_at(LOG_WARNING, "accept: %m");
            warned = true;
        }
        if (errno == EMFILE || errno == ENFILE) {
            refuse_with_spare();
        } else {
            (void)poll(NULL, 0, ACCEPT_BACKOFF_MS);
        }
    }
}

/* This thread has a connection. False when no other could be made to accept in its place. */
static bool leave_acceptors(void)
{
    bool replaced = true;
    pthread_mutex_lock(&acceptors.lock);
    if (--acceptors.count == 0) {
        int error = add_acceptor();
        if (error != 0) {
            errno = error;
            log_at(LOG_WARNING, "cannot make a thread: %m");
            replaced = false;
        }
    }
    pthread_mutex_unlock(&acceptors.lock);
    return replaced;
}

/* False when there are enough that wait. */
static bool join_acceptors(void)
{
    pthread_mutex_lock(&acceptors.lock);
    bool join = acceptors.count < ACCEPTORS_MAX;
    acceptors.count += join;
    pthread_mutex_unlock(&acceptors.lock);
    return join;
}

static void *serve_connections(void *unused)
{
    (void)unused;
    do {
        int fd = accept_connection();
        bool replaced = leave_acceptors();
        fcgi_serve_connection(fd, !replaced);
    } while (join_acceptors());
    return NULL;
}

static void *serve_on(void *argument)
{
    fcgi_serve_connection((int)(intptr_t)argument, false);
    return NULL;
}

void acceptors_reuse(int fd)
{
    if (detached_thread_start(serve_on, (void *)(intptr_t)fd) != 0) {
        (void)close(fd);
    }
}

/* ---- start ---- */

static int take_listener(void)
{
    int is_listening = 0;
    socklen_t size = sizeof(is_listening);
    acceptors.listener = descriptor_take_stdin();
    acceptors.spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (acceptors.listener < 0 || acceptors.spare < 0 ||
        io_set_nonblocking(acceptors.listener, 0) < 0 ||
        getsockopt(acceptors.listener, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0) {
        return -1;
    }
    errno = ENOTSOCK;
    return is_listening ? 0 : -1;
}

static int raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return -1;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

int acceptors_open(void)
{
    return take_listener() < 0 || raise_descriptor_limit() < 0 ? -1 : 0;
}

int acceptors_start(void)
{
    int error = 0;
    pthread_mutex_lock(&acceptors.lock);
    for (int i = 0; i < ACCEPTORS_FIRST && error == 0; i++) {
        error = add_acceptor();
    }
    bool any = acceptors.count > 0;
    pthread_mutex_unlock(&acceptors.lock);
    errno = error;
    return any ? 0 : -1;
}

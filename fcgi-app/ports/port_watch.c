#include "fcgi-app/ports/port_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/detached_thread.h"
#include "common/logger.h"
#include "fcgi-app/ports/port_table.h"
#include "fcgi-app/streams/streams.h"

#define LOOK_MS   100
#define SHARED_MS 50 /* a look of another thread that is no older will do */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t has_begun;
    unsigned followers;
} port_watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .has_begun = PTHREAD_COND_INITIALIZER};

void port_watch_begin(void)
{
    pthread_mutex_lock(&port_watch.lock);
    port_watch.followers++;
    pthread_cond_signal(&port_watch.has_begun);
    pthread_mutex_unlock(&port_watch.lock);
}

void port_watch_end(void)
{
    pthread_mutex_lock(&port_watch.lock);
    port_watch.followers--;
    pthread_mutex_unlock(&port_watch.lock);
}

static void await_follower(void)
{
    pthread_mutex_lock(&port_watch.lock);
    while (port_watch.followers == 0) {
        pthread_cond_wait(&port_watch.has_begun, &port_watch.lock);
    }
    pthread_mutex_unlock(&port_watch.lock);
}

/* What fails is tried again with the next look. */
static void *watch_ports(void *unused)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    uint64_t told = 0;
    bool failed = false;
    (void)unused;
    for (;;) {
        await_follower();
        bool fails = port_table_look(SHARED_MS) < 0;
        if (fails && !failed) {
            log_line("cannot see which ports listen: %m");
        }
        failed = fails;
        (void)port_table_ask(false);
        uint64_t version = port_table_version();
        if (version != told) {
            told = version;
            streams_tell();
        }
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

int port_watch_start(void)
{
    errno = detached_thread_start(watch_ports, NULL);
    return errno == 0 ? 0 : -1;
}

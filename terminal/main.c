/*
 * terminal: WebSockets, to the ports of the sandbox and to terminals. terminal -r RUN, with its
 * listening socket on descriptor 0, where nginx connects for each of them (SCGI). One thread, and
 * no state: when it dies, clients connect again.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/daemon_start.h"
#include "common/logger.h"
#include "common/notify.h"
#include "common/resource_limit.h"
#include "common/run_files.h"
#include "common/settings.h"
#include "identity/identity.h"
#include "procd/wire/client.h"
#include "terminal/attach.h"
#include "terminal/listener.h"
#include "terminal/loop.h"
#include "terminal/service.h"
#include "terminal/session.h"
#include "terminal/tcp.h"

#define STOP_MS 1800
#define LOOK_MS 50

static const struct service *const services[] = {&tcp_service, &attach_service, NULL};

/* ---- the end ---- */

static struct timer_queue stop_queue;
static struct timer_queue look_queue;

static void stop_is_due(struct timer *timer)
{
    (void)timer;
    log_at(LOG_WARNING, "stopped with connections open");
    loop_end();
}

static struct timer stop_timer = {.due = stop_is_due};

static void look_is_due(struct timer *timer)
{
    if (sessions_count() == 0) {
        loop_end();
    } else {
        timer_set(timer, &look_queue);
    }
}

static struct timer look_timer = {.due = look_is_due};

static void signal_ready(struct watched *watched, uint32_t events)
{
    (void)events;
    log_at(LOG_INFO, "stopping; open connections: %u", sessions_count());
    (void)loop_want(watched, 0);
    nginx_listener_stop();
    sessions_stop();
    timer_set(&stop_timer, &stop_queue);
    look_is_due(&look_timer);
}

static struct watched signals = {.fd = -1, .ready = signal_ready};

/* Signals are read by the loop. 0, or -1 with errno. */
static int watch_signals(void)
{
    sigset_t wanted;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGINT);
    timer_queue_init(&stop_queue, STOP_MS);
    timer_queue_init(&look_queue, LOOK_MS);
    (void)pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    signals.fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    return signals.fd < 0 ? -1 : loop_want(&signals, EPOLLIN);
}

/* ---- the start ---- */

static int open_procd(const char *run)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/" RUN_PROCD_SOCKET, run);
    if (procd_client_init(path) < 0) {
        log_line("%s: %m", path);
        return -1;
    }
    return 0;
}

int main(int count, char **arguments)
{
    struct settings settings;
    int status;
    const char *run = daemon_start("terminal", count, arguments, &settings, &status);
    if (run == NULL) {
        return status;
    }
    notify_open();
    resource_limits_lift(NULL);
    if (open_procd(run) < 0 || identity_take(&settings, run) < 0) {
        return EXIT_FAILURE;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* the log may have no reader */
    sessions_init(settings.stream_keepalive_ms, services);
    if (loop_open() < 0 || watch_signals() < 0 || attach_start(settings.max_attached) < 0 ||
        nginx_listener_start() < 0) {
        log_line("descriptor 0 is no listening socket that can be served: %m");
        return EXIT_FAILURE;
    }
    notify_ready();
    log_at(LOG_INFO, "serving");
    if (loop_run() < 0) {
        log_line("epoll_wait: %m");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

/*
 * guard: looks after the daemons beyond what a supervisor can see, which is that a process exists.
 * guard -r RUN, with fcgi-app's listening socket on descriptor 0.
 *
 * The listening sockets stay open while their daemon is away, so that a client waits in the backlog
 * for the next one. nginx has no limit to that wait which a long command would not reach as well:
 * fastcgi_read_timeout counts from the request to the *header* of the answer, whatever arrives
 * meanwhile (ngx_http_upstream_process_header() does not restart the timer; tried with empty
 * FCGI_STDERR records on 1.22.1). So this program asks the daemons now and then whether they
 * serve, and acts when there is no answer:
 * - A daemon that exists and does not answer for HUNG_TICKS is killed, and the supervisor starts
 *   the next one. nginx answers the requests that fcgi-app held with 500; those in the backlog are
 *   served. The death of procd touches no command, that of terminal ends WebSockets.
 * - When there has been no fcgi-app for AWAY_TICKS, requests in its backlog are answered 503. They
 *   were delivered to nothing, so the answer is true. (For procd, fcgi-app does it.)
 * - A service that died while no process could be made, which s6 would leave alone for a minute, is
 *   started as soon as it can be.
 *
 * It has no state that its own death could lose. Time is counted in ticks that were waited for, so
 * that a container that was frozen has aged by one when it goes on.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/daemon_start.h"
#include "common/daemons.h"
#include "common/fastcgi_record.h"
#include "common/logger.h"
#include "common/run_files.h"
#include "common/service_pid.h"
#include "common/settings.h"
#include "guard/service.h"
#include "procd/wire/client.h"

#define TICK_MS    1000
#define PING_MS    200
#define REST_TICKS 3  /* between an answer and the next question */
#define AWAY_TICKS 5  /* s6 starts a daemon again within two */
#define HUNG_TICKS 30 /* a machine may be very busy, and killing ends every command in progress */

#define LISTENER     0
#define REFUSALS_MAX 512 /* kept open at once, for one to two ticks */

static const char *run_directory;

/* ---- asking ---- */

struct asked_daemon {
    enum daemon_number number;
    bool (*is_there)(void); /* may take some PING_MS */
    unsigned rest;          /* ticks until the next question */
    unsigned quiet;         /* ticks without an answer */
    unsigned pid_quiet;     /* those of this process: */
    pid_t pid;
};

/* fcgi-app is asked by a new connection, as nginx would: when it cannot accept one, new clients
 * cannot be served either. */
static struct sockaddr_un fcgi_app_address = {.sun_family = AF_UNIX};
static int question = -1; /* the connection that waits for the answer */

/* Sends a request without parameters, which is answered 404. */
static int send_question(int fd)
{
    unsigned char request[4][RECORD_HEADER_SIZE] = {0};
    record_header(request[0], RECORD_BEGIN_REQUEST, 1, RECORD_HEADER_SIZE);
    request[1][1] = 1; /* role: responder; flags: close the connection */
    record_header(request[2], RECORD_PARAMS, 1, 0);
    record_header(request[3], RECORD_STDIN, 1, 0);
    return send(fd, request, sizeof(request), MSG_NOSIGNAL) == (ssize_t)sizeof(request) ? 0 : -1;
}

/* `question` stays -1 while fcgi-app cannot even be asked. */
static void ask_fcgi_app(void)
{
    const struct sockaddr *address = (const struct sockaddr *)&fcgi_app_address;
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, address, sizeof(fcgi_app_address)) == 0 && send_question(fd) == 0) {
        question = steal_fd(&fd);
    }
}

static bool fcgi_app_is_there(void)
{
    char byte;
    ssize_t count = recv(question, &byte, 1, MSG_DONTWAIT);
    if (count >= 0 || errno != EAGAIN) {
        close_fd(&question); /* answered, or its fcgi-app died */
    }
    return count > 0;
}

/* terminal is asked like fcgi-app, by a request for nothing (SCGI), which it answers 404. */
static struct sockaddr_un terminal_address = {.sun_family = AF_UNIX};
static int terminal_question = -1;

static void ask_terminal(void)
{
    static const char request[] = "19:REQUEST_METHOD\0GET\0,";
    const struct sockaddr *address = (const struct sockaddr *)&terminal_address;
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, address, sizeof(terminal_address)) == 0 &&
        send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(request) - 1) {
        terminal_question = steal_fd(&fd);
    }
}

static bool terminal_is_there(void)
{
    char byte;
    ssize_t count = recv(terminal_question, &byte, 1, MSG_DONTWAIT);
    if (count >= 0 || errno != EAGAIN) {
        close_fd(&terminal_question);
    }
    return count > 0;
}

/* Over the connection that the client keeps: a procd that accepts no more clients does not hang. */
static bool procd_is_there(void)
{
    return procd_ping(NULL, PING_MS) == PROCD_DONE;
}

static struct asked_daemon fcgi_app = {.number = DAEMON_FCGI_APP, .is_there = fcgi_app_is_there};
static struct asked_daemon procd = {.number = DAEMON_PROCD, .is_there = procd_is_there};
static struct asked_daemon terminal = {.number = DAEMON_TERMINAL, .is_there = terminal_is_there};

/* ---- a daemon that hangs ---- */

static void count_quiet(struct asked_daemon *daemon)
{
    const char *name = server_daemons[daemon->number].name;
    pid_t pid = service_pid(run_directory, name);
    daemon->quiet++;
    if (pid < 0) {
        return;
    }
    daemon->pid_quiet = pid == daemon->pid ? daemon->pid_quiet + 1 : 1;
    daemon->pid = pid;
    if (pid != 0 && daemon->pid_quiet >= HUNG_TICKS) {
        log_line("%s (%d) has not answered for %u s: guard kills it", name, (int)pid,
                 daemon->pid_quiet * TICK_MS / 1000);
        (void)kill(pid, SIGKILL);
        daemon->quiet = daemon->pid_quiet = 0; /* the next one serves what waits */
    }
}

static void look_after(struct asked_daemon *daemon)
{
    if (daemon->rest > 0) {
        daemon->rest--;
    } else if (daemon->is_there()) {
        daemon->quiet = daemon->pid_quiet = 0;
        daemon->rest = REST_TICKS;
    } else {
        count_quiet(daemon);
    }
}

/* ---- while there is no fcgi-app ---- */

/* Answered connections, which nginx may still be reading from. */
static struct {
    int fds[REFUSALS_MAX];
    size_t count;
    size_t old; /* the first ones, of an earlier tick */
} refusals;

static bool is_away(void)
{
    return fcgi_app.quiet >= AWAY_TICKS &&
           service_pid(run_directory, server_daemons[DAEMON_FCGI_APP].name) == 0;
}

/* The next fcgi-app may take the connection first: then accept(2) must not wait for another. The
 * socket cannot be made non-blocking for one of its two users. */
static int accept_waiting(void)
{
    (void)alarm(1);
    int fd = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)alarm(0);
    return fd;
}

/*
 * A whole answer and the end of the connection, but no FCGI_END_REQUEST: nginx keeps no connection
 * that ended without one. The request is not read; nginx takes the answer all the same, and closes.
 * nginx/snippets/server.conf has the answer for the client.
 */
static void refuse(int fd)
{
    static const char text[] = "X-Accel-Redirect: @nginx_sandbox_away\r\n\r\n";
    unsigned char answer[RECORD_HEADER_SIZE + sizeof(text) - 1];
    record_header(answer, RECORD_STDOUT, 1, sizeof(text) - 1);
    memcpy(answer + RECORD_HEADER_SIZE, text, sizeof(text) - 1);
    if (send(fd, answer, sizeof(answer), MSG_NOSIGNAL) == (ssize_t)sizeof(answer)) {
        (void)shutdown(fd, SHUT_WR);
    }
    refusals.fds[refusals.count++] = fd;
}

static void close_old_refusals(void)
{
    for (size_t i = 0; i < refusals.old; i++) {
        close_fd(&refusals.fds[i]);
    }
    refusals.count -= refusals.old;
    memmove(refusals.fds, refusals.fds + refusals.old, refusals.count * sizeof(refusals.fds[0]));
    refusals.old = refusals.count;
}

/* Answers the waiting requests, and those that come before the deadline, while fcgi-app is away. */
static void refuse_until(int64_t deadline)
{
    struct pollfd waiting = {.fd = LISTENER, .events = POLLIN};
    close_fd(&question); /* it would be answered here */
    for (;;) {
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0 || refusals.count == REFUSALS_MAX || poll(&waiting, 1, (int)left) <= 0 ||
            !is_away()) {
            return;
        }
        int fd = accept_waiting();
        if (fd < 0) {
            return;
        }
        refuse(fd);
    }
}

/* ---- what s6 has given up for a while ---- */

static struct service services[DAEMON_COUNT];
static size_t service_count;

static void set_up_services(const char *run)
{
    for (size_t i = 0; i < DAEMON_COUNT; i++) {
        if (server_daemons[i].serves) {
            service_init(&services[service_count++], run, server_daemons[i].name);
        }
    }
}

/* ---- the ticks ---- */

static void tick(void)
{
    int64_t deadline = clock_monotonic_ms() + TICK_MS;
    if (is_away()) {
        refuse_until(deadline);
    } else if (fcgi_app.rest == 0 && question < 0) {
        ask_fcgi_app();
    }
    if (terminal.rest == 0 && terminal_question < 0) {
        ask_terminal();
    }
    int64_t left = deadline - clock_monotonic_ms();
    (void)poll(NULL, 0, left > 0 ? (int)left : 0);
    look_after(&fcgi_app);
    look_after(&procd);
    look_after(&terminal);
    close_old_refusals();
    for (size_t i = 0; i < service_count; i++) {
        service_revive(&services[i]);
    }
}

static void interrupt_accept(int signal)
{
    (void)signal;
}

static int set_up(const char *run)
{
    const struct sigaction interrupt = {.sa_handler = interrupt_accept};
    char socket_path[PATH_MAX + 16];
    int size = sizeof(fcgi_app_address.sun_path);
    if (snprintf(fcgi_app_address.sun_path, (size_t)size, "%s/" RUN_FCGI_APP_SOCKET, run) >= size ||
        snprintf(terminal_address.sun_path, (size_t)size, "%s/" RUN_TERMINAL_SOCKET, run) >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    run_directory = run;
    set_up_services(run);
    (void)snprintf(socket_path, sizeof(socket_path), "%s/" RUN_PROCD_SOCKET, run);
    return procd_client_init(socket_path) < 0 ? -1 : sigaction(SIGALRM, &interrupt, NULL);
}

int main(int count, char **arguments)
{
    struct settings settings;
    int status;
    const char *run = daemon_start("guard", count, arguments, &settings, &status);
    if (run == NULL) {
        return status;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* the log may have no reader */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || set_up(run) < 0) {
        log_line("%s: %m", run);
        return EXIT_FAILURE;
    }
    for (;;) {
        tick();
    }
}

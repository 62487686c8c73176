/*
 * Other threads hand requests over in a list. The thread waits in epoll for new requests and for
 * clients that leave, and while it has requests it looks every few milliseconds at all sockets that
 * listen.
 */
#include "fcgi-app/ports/hold.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "api/errors.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/detached_thread.h"
#include "common/logger.h"
#include "common/settings.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/outlet.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/ports/held_answer.h"
#include "fcgi-app/ports/held_places.h"
#include "fcgi-app/ports/listening.h"
#include "fcgi-app/ports/own_sockets.h"

#define LOOK_MS    15  /* between two looks */
#define ASK_MS     200 /* between two questions to procd, whose sockets they are */
#define RESTART_MS 100 /* a server that closes without an answer may be about to end */
#define EVENTS     64

struct held {
    struct outlet outlet;
    struct held_question question;
    int64_t since, until; /* ms */
    int64_t not_before;   /* what listens earlier may be a server on its way out */
    TAILQ_ENTRY(held) all;
};

TAILQ_HEAD(held_list, held);

/* What other threads hand over. */
static struct {
    pthread_mutex_t lock;
    struct held_list held;
    int signal; /* an eventfd(2) that epoll reports, as EPOLLET: nobody reads it */
} arrived = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .held = TAILQ_HEAD_INITIALIZER(arrived.held), .signal = -1};

static int64_t wait_most; /* ms */
static uint64_t held_most;

/* The thread's own. */
static struct {
    int epoll;
    struct held_list held;
    int64_t asked; /* when procd was asked last: ms */
} loop = {.epoll = -1, .held = TAILQ_HEAD_INITIALIZER(loop.held)};

void hold_init(const struct settings *settings)
{
    wait_most = (int64_t)settings->port_wait_ms;
    /* Each has a place that a command could have: half are left. */
    held_most = settings->max_held < settings->max_connections / 2 ? settings->max_held
                                                                   : settings->max_connections / 2;
}

/* ---- the question ---- */

/* What the client asks for; not a number of plain digits: the most. */
static int64_t wait_asked(const char *text)
{
    size_t length = strspn(text, "0123456789");
    if (length == 0 || text[length] != '\0' || length > 9) {
        return wait_most;
    }
    int64_t asked = (int64_t)strtoll(text, NULL, 10);
    return asked < wait_most ? asked : wait_most;
}

static struct held_question read_question(const struct request *request)
{
    return (struct held_question){
        .port = (unsigned)strtoul(request_param(request, "HELD_PORT"), NULL, 10),
        .only_own = strcmp(request_param(request, "HELD_RULE"), "ask") == 0,
        .is_visitor = strchr(request_param(request, "HELD_FOR"), ':') != NULL ||
                      *request_param(request, "HELD_TICKET") != '\0',
    };
}

/* Answers in the request's own thread. */
static void answer_now(struct request *request, bool good, const char *line)
{
    if (request_begin(request, good ? 204 : 403, NULL, line) == 0) {
        (void)request_flush(request); /* what fails is seen when it ends */
    }
}

static void hold_back(struct request *request, const struct held_question *question, int64_t wait,
                      bool again)
{
    struct held *held = calloc(1, sizeof(*held));
    if (held == NULL || request_detach(request, &held->outlet) < 0) {
        held_places_leave(question->is_visitor);
        free(held);
        request_abort(request);
        return;
    }
    held->outlet.measured.endpoint = METRICS_NONE;
    held->question = *question;
    held->since = clock_monotonic_ms();
    held->until = held->since + wait;
    held->not_before = held->since + (again ? RESTART_MS : 0);
    held_places_count_wait();
    (void)pthread_mutex_lock(&arrived.lock);
    TAILQ_INSERT_TAIL(&arrived.held, held, all);
    (void)pthread_mutex_unlock(&arrived.lock);
    (void)eventfd_write(arrived.signal, 1); /* fails only after 2^64 times */
}

/* Reads what listens: with `only_own` what commands listen on. Then *is_foreign says whether
 * another program listens on the port, and no command does. */
static void read_listening(const struct request *request, const struct held_question *question,
                           struct listening_list *list, bool *is_foreign)
{
    const struct listening_socket *end;
    cleanup_(listening_clear) struct listening_list before = {0};
    *is_foreign = false;
    if ((question->only_own && listening_read(&before) < 0) || listening_read(list) < 0) {
        log_request(LOG_ERR, request_id(request), "the ports that listen: %m");
    }
    if (question->only_own) {
        *is_foreign = own_sockets_keep(list) == 0 &&
                      listening_find(list, question->port, &end) == NULL &&
                      own_sockets_foreign(question->port, &before, list);
    }
}

void hold_request(struct request *request)
{
    char line[HELD_ANSWER_SIZE];
    struct listening_list list;
    bool is_foreign;
    struct held_question question = read_question(request);
    int64_t wait = wait_asked(request_param(request, "HELD_WAIT_MS"));
    bool again = strcmp(request_param(request, "HELD_AGAIN"), "closed") == 0;
    read_listening(request, &question, &list, &is_foreign);
    if (!again && held_answer_found(&question, &list, line)) {
        answer_now(request, true, line);
    } else if (is_foreign) {
        held_answer_foreign(&question, line);
        answer_now(request, false, line);
    } else if (wait == 0) {
        held_answer_nobody(&question, &list, 0, line);
        answer_now(request, false, line);
    } else if (!held_places_take(held_most, question.is_visitor)) {
        held_answer_error(ERROR_unavailable, "Too many requests wait for ports (SANDBOX_MAX_HELD)",
                          line);
        answer_now(request, false, line);
    } else {
        hold_back(request, &question, wait, again);
    }
    listening_clear(&list);
}

/* ---- the thread ---- */

/* Takes it out of the loop. */
static void held_close(struct held *held, bool whole)
{
    (void)epoll_ctl(loop.epoll, EPOLL_CTL_DEL, held->outlet.fd, NULL);
    TAILQ_REMOVE(&loop.held, held, all);
    held_places_leave(held->question.is_visitor);
    outlet_close(&held->outlet, whole);
    free(held);
}

/* The connection is empty, so it takes all at once; else it is given up. */
static void held_answer(struct held *held, bool good, const char *line)
{
    char head[HELD_ANSWER_SIZE + 64];
    int length = snprintf(head, sizeof(head), "Status: %s\r\n%s\r\n",
                          good ? "204 No Content" : "403 Forbidden", line);
    bool whole = outlet_send(&held->outlet, head, (size_t)length) == length &&
                 outlet_end(&held->outlet) == 1;
    held_close(held, whole);
}

static void look_at_held(struct held *held, const struct listening_list *list, int64_t now)
{
    char line[HELD_ANSWER_SIZE];
    if (now >= held->not_before && held_answer_found(&held->question, list, line)) {
        held_answer(held, true, line);
    } else if (is_stopping()) {
        held_answer_error(ERROR_stopping, "The server is stopping", line);
        held_answer(held, false, line);
    } else if (now >= held->until) {
        held_places_count_timeout();
        held_answer_nobody(&held->question, list, now - held->since, line);
        held_answer(held, false, line);
    }
}

/* Whether one that waits for a port of a command's has somebody there, whoever it is. */
static bool must_ask_who(const struct listening_list *list)
{
    const struct held *held;
    const struct listening_socket *end;
    TAILQ_FOREACH (held, &loop.held, all) {
        if (held->question.only_own && listening_find(list, held->question.port, &end) != NULL) {
            return true;
        }
    }
    return false;
}

/* Reads which sockets of commands listen, if that must be known now; an empty list otherwise. */
static void read_own(const struct listening_list *list, int64_t now, struct listening_list *own)
{
    *own = (struct listening_list){0};
    if (now - loop.asked >= ASK_MS && must_ask_who(list) && listening_read(own) == 0) {
        loop.asked = now;
        (void)own_sockets_keep(own);
    }
}

static void look_at_all(void)
{
    struct listening_list list, own;
    int64_t now = clock_monotonic_ms();
    if (listening_read(&list) < 0) {
        log_line("the ports that listen: %m");
    }
    read_own(&list, now, &own);
    struct held *next;
    for (struct held *held = TAILQ_FIRST(&loop.held); held != NULL; held = next) {
        next = TAILQ_NEXT(held, all);
        look_at_held(held, held->question.only_own ? &own : &list, now);
    }
    listening_clear(&list);
    listening_clear(&own);
}

static void take_new_ones(void)
{
    struct held_list new_ones = TAILQ_HEAD_INITIALIZER(new_ones);
    struct held *held;
    (void)pthread_mutex_lock(&arrived.lock);
    TAILQ_CONCAT(&new_ones, &arrived.held, all);
    (void)pthread_mutex_unlock(&arrived.lock);
    while ((held = TAILQ_FIRST(&new_ones)) != NULL) {
        TAILQ_REMOVE(&new_ones, held, all);
        struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = held};
        TAILQ_INSERT_TAIL(&loop.held, held, all);
        if (epoll_ctl(loop.epoll, EPOLL_CTL_ADD, held->outlet.fd, &event) < 0) {
            log_line("epoll_ctl: %m");
            held_close(held, false);
        }
    }
}

__attribute__((noreturn)) static void *run_holds(void *unused)
{
    (void)unused;
    struct epoll_event events[EVENTS];
    for (int64_t last = 0;;) {
        int64_t wait = last + LOOK_MS - clock_monotonic_ms();
        bool idle = TAILQ_EMPTY(&loop.held);
        int count = epoll_wait(loop.epoll, events, EVENTS, idle ? -1 : wait > 0 ? (int)wait : 0);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                take_new_ones();
            } else {
                held_close(events[i].data.ptr, false); /* its client has left */
            }
        }
        if (clock_monotonic_ms() - last >= LOOK_MS && !TAILQ_EMPTY(&loop.held)) {
            look_at_all();
            last = clock_monotonic_ms();
        }
    }
}

int hold_start(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    arrived.signal = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop.epoll < 0 || arrived.signal < 0 ||
        epoll_ctl(loop.epoll, EPOLL_CTL_ADD, arrived.signal, &event) < 0) {
        return -1;
    }
    errno = detached_thread_start(run_holds, NULL);
    return errno == 0 ? 0 : -1;
}

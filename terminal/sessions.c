/*
 * The life of sessions: a connection of nginx, its request, what comes and goes, silence, the stop.
 */
#include "terminal/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "terminal/asked.h"
#include "terminal/scratch.h"
#include "terminal/session_state.h"

#define REQUEST_MOST 32768 /* bytes: four times what nginx takes of a client's headers */
#define SHORT_MS     10000

/* The request is whole. */
static void serve(struct session *session, const struct asked *asked)
{
    const struct service *service =
        service_find(sessions.services, asked_value(asked, "SCRIPT_NAME"));
    const char *key = asked_value(asked, "WS_KEY");
    session->has_protocol = ws_offers(asked_value(asked, "WS_PROTOCOL"), SESSION_PROTOCOL);
    if (service == NULL) {
        session_refuse(session, 404, ERROR_not_found, "", "Not found");
    } else if (strcmp(asked_value(asked, "WS_VERSION"), "13") != 0) {
        session_refuse(session, 426, ERROR_invalid_request,
                       "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                       "Only version 13 of WebSocket is spoken here");
    } else if (!ws_key_is_right(key)) {
        session_refuse(session, 400, ERROR_invalid_request, "",
                       "Sec-WebSocket-Key must be 16 bytes in base64");
    } else {
        ws_accept(key, session->accept);
        session->service = service;
        session->state = SESSION_OPENING;
        timer_set(&session->timer, &sessions.shorts);
        session_watch(session);
        service->open(session, asked);
    }
}

static void take_request(struct session *session, const unsigned char *bytes, size_t length)
{
    static const unsigned char end = '\0';
    if (bytes_length(&session->in) + length > REQUEST_MOST ||
        bytes_add(&session->in, bytes, length) < 0 || bytes_add(&session->in, &end, 1) < 0) {
        session_drop(session);
        return;
    }
    struct bytes request = session->in;
    struct asked asked = {request.data, request.end - 1};
    if (!asked_is_whole(&asked)) {
        session->in.end--;
        return;
    }
    session->in = (struct bytes){0};
    serve(session, &asked);
    bytes_clear(&request);
}

/* ---- the connection ---- */

static void session_read(struct session *session)
{
    ssize_t got = TEMP_FAILURE_RETRY(recv(session->watched.fd, scratch, SCRATCH_SIZE, 0));
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        session_drop(session);
    } else if (session->state == SESSION_ASKING) {
        take_request(session, scratch, (size_t)got);
    } else if (session->state != SESSION_DEAF) {
        session_take_frames(session, scratch, (size_t)got);
    }
}

/* Sends what waits; then there may be room for answers to frames that came before. */
static void session_write_on(struct session *session)
{
    session_flush(session);
    if (session->state == SESSION_OPEN && session_is_read(session) &&
        bytes_length(&session->in) > 0) {
        session_take_waiting_frames(session);
    }
}

static void session_ready(struct watched *watched, uint32_t events)
{
    struct session *session = SESSION_OF(watched, watched);
    if ((events & EPOLLOUT) != 0) {
        session_write_on(session);
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0 ||
        session->state == SESSION_GONE) {
        session_watch(session);
    } else if (session_is_read(session)) {
        session_read(session);
        session_watch(session);
    } else if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        session_drop(session); /* it has left, and nobody takes what it may have sent before */
    }
}

static void session_is_due(struct timer *timer)
{
    struct session *session = SESSION_OF(timer, timer);
    switch (session->state) {
    case SESSION_OPEN:
        timer_set(timer, &sessions.pings);
        if (!session_is_full(session)) {
            session_say(session, WS_PING, "", 0);
        }
        break;
    case SESSION_OPENING:
        session_refuse(session, 503, ERROR_unavailable, "", "Nothing was done in time");
        break;
    case SESSION_ASKING:
    case SESSION_CLOSING:
    case SESSION_DEAF:
    case SESSION_ENDING: session_drop(session); break;
    case SESSION_GONE: break;
    }
}

void session_begin(int fd)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        (void)close(fd);
        return;
    }
    session->watched = (struct watched){.fd = fd, .ready = session_ready};
    session->timer.due = session_is_due;
    LIST_INSERT_HEAD(&sessions.list, session, all);
    sessions.count++;
    timer_set(&session->timer, &sessions.shorts);
    session_watch(session);
}

void sessions_init(uint64_t ping_ms, const struct service *const *known)
{
    LIST_INIT(&sessions.list);
    sessions.services = known;
    timer_queue_init(&sessions.shorts, SHORT_MS);
    timer_queue_init(&sessions.pings, (int64_t)ping_ms);
}

void sessions_stop(void)
{
    struct session *next;
    for (struct session *session = LIST_FIRST(&sessions.list); session != NULL; session = next) {
        next = LIST_NEXT(session, all);
        if (session->state == SESSION_OPEN) {
            session_close(session, WS_GOING_AWAY, "The server is stopping");
        } else if (session->state == SESSION_ASKING || session->state == SESSION_OPENING) {
            session_refuse(session, 503, ERROR_stopping, "", "The server is stopping");
        }
    }
}

#include "terminal/session_state.h"

#include <sys/epoll.h>

#include "common/logger.h"

struct sessions sessions;

unsigned sessions_count(void)
{
    return sessions.count;
}

void *session_context(const struct session *session)
{
    return session->context;
}

void session_set_context(struct session *session, void *context)
{
    session->context = context;
}

bool session_is_full(const struct session *session)
{
    return bytes_length(&session->out) > 0;
}

void session_end_service(struct session *session)
{
    const struct service *service = session->service;
    session->service = NULL;
    if (service != NULL && session->context != NULL) {
        service->end(session);
        session->context = NULL;
    }
}

void session_drop(struct session *session)
{
    if (session->state == SESSION_GONE) {
        return;
    }
    session->state = SESSION_GONE;
    session_end_service(session);
    timer_clear(&session->timer);
    loop_close(&session->watched);
    bytes_clear(&session->in);
    bytes_clear(&session->out);
    bytes_clear(&session->text);
    LIST_REMOVE(session, all);
    sessions.count--;
    loop_free(&session->garbage, session);
}

bool session_is_read(const struct session *session)
{
    switch (session->state) {
    case SESSION_OPEN:
        return !session->is_paused && bytes_length(&session->out) <= SESSION_OUT_MOST;
    case SESSION_ASKING:
    case SESSION_CLOSING:
    case SESSION_DEAF: return true;
    case SESSION_OPENING:
    case SESSION_ENDING:
    case SESSION_GONE: break;
    }
    return false;
}

void session_watch(struct session *session)
{
    uint32_t events = session_is_read(session) ? EPOLLIN | EPOLLRDHUP : EPOLLRDHUP;
    events |= session_is_full(session) || session->asks_room ? EPOLLOUT : 0;
    if (session->state != SESSION_GONE && loop_want(&session->watched, events) < 0) {
        log_line("epoll_ctl: %m");
        session_drop(session);
    }
}

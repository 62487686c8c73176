/*
 * What comes from the client.
 */
#include <string.h>

#include "terminal/session_state.h"

#define TEXT_MOST 4096 /* bytes of a text, which is an order for a service */

static void take_text(struct session *session, const struct ws_event *event)
{
    if (bytes_length(&session->text) + event->length > TEXT_MOST) {
        session_close(session, WS_TOO_BIG, "A text has at most 4096 bytes");
        return;
    }
    if (bytes_add(&session->text, event->bytes, event->length) < 0) {
        session_drop(session);
        return;
    }
    if (event->is_end) {
        char text[TEXT_MOST + 1];
        size_t length = bytes_length(&session->text);
        if (length > 0) {
            memcpy(text, session->text.data, length);
        }
        text[length] = '\0';
        bytes_clear(&session->text);
        session->service->text(session, text, length);
    }
}

static void take_event(struct session *session, const struct ws_event *event)
{
    bool is_open = session->state == SESSION_OPEN;
    switch (event->kind) {
    case WS_DATA:
        if (is_open && event->is_text) {
            take_text(session, event);
        } else if (is_open) {
            session->service->bytes(session, event->bytes, event->length, event->is_end);
        }
        break;
    case WS_PINGED:
        if (is_open) {
            session_answer_ping(session, event);
        }
        break;
    case WS_CLOSED:
        session_end_service(session);
        if (is_open) {
            session_send_close(session, event->code, "");
        }
        session_leave(session, SESSION_ENDING);
        break;
    case WS_REFUSED:
        session_close(session, event->code, "");
        session_leave(session, SESSION_DEAF);
        break;
    case WS_PONGED:
    case WS_MORE: break;
    }
}

/* Reads frames, unmasked in place, as long as they are to be read. */
void session_take_frames(struct session *session, unsigned char *bytes, size_t length)
{
    size_t at = 0;
    while (at < length && (session->state == SESSION_CLOSING || session->state == SESSION_OPEN) &&
           session_is_read(session)) {
        struct ws_event event;
        at += ws_read(&session->reader, bytes + at, length - at, &event);
        take_event(session, &event);
    }
    if (session->state == SESSION_OPEN && bytes_add(&session->in, bytes + at, length - at) < 0) {
        session_drop(session);
    }
}

void session_take_waiting_frames(struct session *session)
{
    struct bytes waiting = session->in;
    session->in = (struct bytes){0};
    session->is_paused = false;
    session_take_frames(session, (unsigned char *)waiting.data + waiting.begin,
                        bytes_length(&waiting));
    bytes_clear(&waiting);
    session_watch(session);
}

void session_close(struct session *session, unsigned code, const char *reason)
{
    if (session->state == SESSION_OPEN) {
        session_end_service(session);
        session_send_close(session, code, reason);
        session_leave(session, SESSION_CLOSING);
        session_take_waiting_frames(session); /* its own close frame may be there */
    }
}

void session_pause(struct session *session)
{
    session->is_paused = true;
    session_watch(session);
}

void session_resume(struct session *session)
{
    if (session->is_paused && session->state == SESSION_OPEN) {
        session_take_waiting_frames(session);
    }
}

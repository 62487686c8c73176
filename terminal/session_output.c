/*
 * What goes to the client.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "terminal/refusal.h"
#include "terminal/session_state.h"

void session_ask_room(struct session *session)
{
    session->asks_room = session->state == SESSION_OPEN;
    session_watch(session);
}

/* Sends it, or keeps what nginx does not take yet. */
static void session_write(struct session *session, struct iovec parts[2])
{
    size_t taken = 0;
    if (!session_is_full(session)) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent = TEMP_FAILURE_RETRY(sendmsg(session->watched.fd, &message, MSG_NOSIGNAL));
        if (sent < 0 && errno != EAGAIN) {
            session_drop(session);
            return;
        }
        taken = sent < 0 ? 0 : (size_t)sent;
    }
    for (int i = 0; i < 2; i++) {
        size_t part = taken < parts[i].iov_len ? taken : parts[i].iov_len;
        taken -= part;
        if (bytes_add(&session->out, (char *)parts[i].iov_base + part, parts[i].iov_len - part) <
            0) {
            session_drop(session);
            return;
        }
    }
    session_watch(session);
}

void session_send_frame(struct session *session, enum ws_opcode opcode, const void *data,
                        size_t length)
{
    unsigned char head[WS_HEAD_MOST];
    struct iovec parts[2] = {{head, ws_head(head, opcode, length, NULL)},
                             {(void *)(uintptr_t)data, length}};
    session_write(session, parts);
}

void session_say(struct session *session, enum ws_opcode opcode, const void *data, size_t length)
{
    if (session->state == SESSION_OPEN) {
        session_send_frame(session, opcode, data, length);
    }
}

/* Only the last ping needs an answer, and no more than one answer waits. */
void session_answer_ping(struct session *session, const struct ws_event *event)
{
    if (!session_is_full(session)) {
        session_send_frame(session, WS_PONG, event->bytes, event->length);
        return;
    }
    session->owes_pong = true;
    session->pong_length = (unsigned char)event->length;
    memcpy(session->pong, event->bytes, event->length);
}

void session_send_close(struct session *session, unsigned code, const char *reason)
{
    unsigned char payload[WS_CONTROL_MOST];
    session_send_frame(session, WS_CLOSE, payload, ws_close_payload(payload, code, reason));
}

/* All that waited has gone. */
static void session_is_empty(struct session *session)
{
    if (session->state == SESSION_ENDING) {
        session_drop(session);
        return;
    }
    if (session->owes_pong) {
        session->owes_pong = false;
        session_say(session, WS_PONG, session->pong, session->pong_length);
    }
    if (session->state == SESSION_OPEN && !session_is_full(session)) {
        session->service->room(session);
    }
}

/* Sends what waits, once. */
static void send_waiting(struct session *session)
{
    ssize_t sent =
        TEMP_FAILURE_RETRY(send(session->watched.fd, session->out.data + session->out.begin,
                                bytes_length(&session->out), MSG_NOSIGNAL));
    if (sent < 0 && errno != EAGAIN) {
        session_drop(session);
    } else if (sent > 0) {
        bytes_drop(&session->out, (size_t)sent);
    }
}

void session_flush(struct session *session)
{
    session->asks_room = false;
    if (session_is_full(session)) {
        send_waiting(session);
    }
    if (!session_is_full(session) && session->state != SESSION_GONE) {
        session_is_empty(session);
    }
}

/* Goes on to a state in which nothing is sent any more, but what waits. */
void session_leave(struct session *session, enum session_state state)
{
    if (session->state == SESSION_GONE) {
        return;
    }
    session->state = state;
    session->is_paused = false;
    bytes_clear(&session->text);
    timer_set(&session->timer, &sessions.shorts);
    if (state == SESSION_ENDING && !session_is_full(session)) {
        session_drop(session);
    } else {
        session_watch(session);
    }
}

void session_accept(struct session *session)
{
    char head[256];
    if (session->state != SESSION_OPENING) {
        return;
    }
    int length =
        snprintf(head, sizeof(head),
                 "Status: 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 "Connection: upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                 session->accept,
                 session->has_protocol ? "Sec-WebSocket-Protocol: " SESSION_PROTOCOL "\r\n" : "");
    struct iovec parts[2] = {{head, (size_t)length}, {head, 0}};
    session->state = SESSION_OPEN;
    ws_reader_init(&session->reader, true);
    timer_set(&session->timer, &sessions.pings);
    session_write(session, parts);
}

void session_refuse(struct session *session, int status, enum api_error error, const char *headers,
                    const char *format, ...)
{
    char message[256];
    char answer[REFUSAL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    struct iovec parts[2] = {{answer, refusal_render(answer, status, error, headers, message)},
                             {answer, 0}};
    if (session->state == SESSION_ASKING || session->state == SESSION_OPENING) {
        session_write(session, parts);
        session_leave(session, SESSION_ENDING);
    }
}

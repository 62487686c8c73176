/*
 * What the files about sessions share: a session, and what each of them does with it. Its users
 * have session.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "terminal/bytes.h"
#include "terminal/loop.h"
#include "terminal/scratch.h"
#include "terminal/service.h"
#include "terminal/session.h"
#include "terminal/websocket/ws_accept.h"
#include "terminal/websocket/ws_frame.h"

/* The subprotocol that is chosen where a client offers it. */
#define SESSION_PROTOCOL "nginx-sandbox.v1"

/* While more bytes than these wait for nginx, no frame is read: a client could have ever more of
 * them wait by what is answered. A service sends SCRATCH_SIZE of its own at once, and that has to
 * leave room: the bytes of one direction do not wait for those of the other. */
#define SESSION_OUT_MOST ((size_t)2 * SCRATCH_SIZE)

/* A session goes through them in their order, some of which it may leave out. */
enum session_state {
    SESSION_ASKING,  /* its request is not whole yet */
    SESSION_OPENING, /* the service has it */
    SESSION_OPEN,
    SESSION_CLOSING, /* it has had a close frame, and will send its own */
    SESSION_DEAF,    /* the same, but what it sends is not understood any more */
    SESSION_ENDING,  /* it gets what waits for it, and the end */
    SESSION_GONE,
};

struct session {
    struct watched watched;
    struct timer timer;
    struct loop_garbage garbage;
    LIST_ENTRY(session) all;
    enum session_state state;
    bool is_paused;
    bool has_protocol; /* it has offered ours */
    bool asks_room;    /* its service wants a turn when nothing waits */
    bool owes_pong;
    unsigned char pong_length;
    unsigned char pong[WS_CONTROL_MOST];
    char accept[WS_ACCEPT_SIZE];
    const struct service *service; /* NULL: none has it (any more) */
    void *context;
    struct bytes in;   /* of the request; later frames that wait until they are read */
    struct bytes out;  /* for nginx */
    struct bytes text; /* of an unfinished text */
    struct ws_reader reader;
};

struct sessions {
    LIST_HEAD(, session) list;
    unsigned count;
    const struct service *const *services;
    struct timer_queue shorts; /* for what is done at once, or never */
    struct timer_queue pings;
};

extern struct sessions sessions;

#define SESSION_OF(member, pointer)                                                                \
    ((struct session *)((char *)(pointer)-offsetof(struct session, member)))

/* ---- session_state.c ---- */

/* Lets go of all that it has. Its memory stays until the loop has left all functions that may know
 * it. */
void session_drop(struct session *session);

void session_end_service(struct session *session);

/* Whether what comes from nginx is read now. */
bool session_is_read(const struct session *session);

/* Watches the connection for what is wanted of it. To call when the state, or what waits, has
 * changed. */
void session_watch(struct session *session);

/* ---- session_output.c ---- */

void session_send_frame(struct session *session, enum ws_opcode opcode, const void *data,
                        size_t length);
void session_send_close(struct session *session, unsigned code, const char *reason);
void session_answer_ping(struct session *session, const struct ws_event *event);

/* Sends what waits. When that has gone, the service has its turn. */
void session_flush(struct session *session);

/* Goes on to a state in which no service has it. */
void session_leave(struct session *session, enum session_state state);

/* ---- session_input.c ---- */

/* Reads frames, which are unmasked in place, and keeps what the service cannot take now. */
void session_take_frames(struct session *session, unsigned char *bytes, size_t length);

/* Reads those that have waited, paused or not. */
void session_take_waiting_frames(struct session *session);

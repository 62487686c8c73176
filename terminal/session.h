/*
 * A client: a connection of nginx with one request, which becomes a WebSocket. What it carries is a
 * service's business (service.h); the frames, and bytes that nginx does not take yet, are not.
 *
 * The bytes that wait are bounded: a service sends no more while session_is_full(), and stops what
 * comes by session_pause() while it cannot pass it on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/errors.h"
#include "terminal/websocket/ws_frame.h"

struct session;
struct service;

/* Remembers how long a client may be silent before it gets a ping, and what clients can ask for.
 * Call once, before the first client. */
void sessions_init(uint64_t ping_ms, const struct service *const *services);

/* Takes a connection of nginx; closes the descriptor in any case. */
void session_begin(int fd);

/* Ends all: those that are open get a close frame. */
void sessions_stop(void);
unsigned sessions_count(void);

/* ---- for services ---- */

/* What the service keeps for this client; NULL at first. */
void *session_context(const struct session *session);
void session_set_context(struct session *session, void *context);

/* Answers the request with 101. What is sent from now on are frames. */
void session_accept(struct session *session);

/* Answers it with an error instead. `headers` are whole lines, or "". */
__attribute__((format(printf, 5, 6))) void session_refuse(struct session *session, int status,
                                                          enum api_error error, const char *headers,
                                                          const char *format, ...);

/* Sends a message. Does nothing once the client is not open any more. */
void session_say(struct session *session, enum ws_opcode opcode, const void *data, size_t length);

/* Whether nginx has not taken yet all that was sent. service->room is called when it has. */
bool session_is_full(const struct session *session);

/* Calls service->room soon, even if nothing waits. */
void session_ask_room(struct session *session);

/* Takes nothing more from the session, and goes on. */
void session_pause(struct session *session);
void session_resume(struct session *session);

/* Ends the service, and the connection with a code. */
void session_close(struct session *session, unsigned code, const char *reason);

/*
 * The handshake of WebSocket (RFC 6455, section 4.2.2).
 */
#pragma once

#include <stdbool.h>

#define WS_ACCEPT_SIZE 29 /* with its NUL */

/* Whether it is the Sec-WebSocket-Key of a client: 16 bytes in base64. Thread-safe. */
bool ws_key_is_right(const char *key);

/* Whether a Sec-WebSocket-Protocol, "one, other", offers this one. Thread-safe. */
bool ws_offers(const char *offered, const char *protocol);

/* The Sec-WebSocket-Accept that answers such a key. Thread-safe. */
void ws_accept(const char *key, char accept[WS_ACCEPT_SIZE]);

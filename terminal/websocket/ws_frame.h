/*
 * The frames of WebSocket (RFC 6455), for either side, without any knowledge of what they carry:
 * bytes in memory become events, and messages become frames. No file here makes a system call or
 * allocates.
 *
 * A reader keeps no message: it hands on the bytes of one as they come, so what it needs is bounded
 * whatever the other side sends. All functions are thread-safe for different readers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a frame is: its opcode. */
enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

/* Why a connection ends: RFC 6455, section 7.4.1. */
enum ws_code {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_NO_CODE = 1005, /* never on the wire: a close frame without a code */
    WS_BAD_TEXT = 1007,
    WS_NOT_ALLOWED = 1008,
    WS_TOO_BIG = 1009,
    WS_INTERNAL = 1011,
};

#define WS_CONTROL_MOST 125 /* bytes of payload in a close, ping or pong */
#define WS_REASON_MOST  123 /* and of the reason in a close */
#define WS_HEAD_MOST    14  /* bytes before the payload of a frame */

/* Masks bytes, or unmasks them, which are the same: those from `offset` on in the payload of a
 * frame. */
void ws_mask(unsigned char *bytes, size_t count, const unsigned char mask[4], uint64_t offset);

/* Writes the head of a frame with `length` bytes of payload, which is the whole message. `mask`:
 * NULL for a server. The length of the head. */
size_t ws_head(unsigned char head[WS_HEAD_MOST], enum ws_opcode opcode, uint64_t length,
               const unsigned char *mask);

/* Writes the payload of a close frame, whose reason is cut after WS_REASON_MOST bytes, between
 * characters. Its length; with WS_NO_CODE 0. */
size_t ws_close_payload(unsigned char payload[WS_CONTROL_MOST], unsigned code, const char *reason);

/* ---- reading ---- */

enum ws_kind {
    WS_MORE,    /* all bytes were taken, and more are needed */
    WS_DATA,    /* bytes of a message */
    WS_PINGED,  /* the other side wants a pong with these bytes */
    WS_PONGED,  /* a pong with these bytes */
    WS_CLOSED,  /* the other side ends the connection: `code`, and the bytes are the reason */
    WS_REFUSED, /* it has broken the protocol: `code` is to be answered. There is no next event */
};

struct ws_event {
    enum ws_kind kind;
    bool is_text;         /* WS_DATA: of a text, which is UTF-8 as far as it has come */
    bool is_end;          /* WS_DATA: the message ends here; there may be no bytes */
    unsigned code;        /* WS_CLOSED, WS_REFUSED */
    unsigned char *bytes; /* valid until the next event */
    size_t length;
};

struct ws_reader {
    bool wants_masks; /* the other side is a client */
    bool in_frame;    /* its head is complete */
    bool is_final;
    unsigned char opcode;
    unsigned char message; /* the opcode of the unfinished message; 0: there is none */
    unsigned char head_length;
    unsigned char head[WS_HEAD_MOST];
    unsigned char text_length; /* of the character that the bytes of a text end within */
    unsigned char text[4];
    unsigned char mask[4];
    unsigned char control[WS_CONTROL_MOST];
    uint64_t done; /* bytes of the frame's payload */
    uint64_t left;
};

/* A reader at the start of a connection: of a server, whose clients must mask, or of a client. */
void ws_reader_init(struct ws_reader *reader, bool is_server);

/*
 * Reads from bytes[0..count), which it unmasks in place, up to the next event. Returns how many it
 * took: those are never to be passed again.
 */
size_t ws_read(struct ws_reader *reader, unsigned char *bytes, size_t count,
               struct ws_event *event);

/*
 * The reader of WebSocket frames: the same bytes in pieces of any size give the same events, and
 * what it accepts is as RFC 6455 wants it. The first byte says who reads, the second how large the
 * pieces are.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/utf8.h"
#include "terminal/websocket/ws_accept.h"
#include "terminal/websocket/ws_frame.h"
#include "tests/fuzz/fuzz.h"

/* What was read of some bytes: data without the places where it was cut. */
struct seen {
    uint64_t bytes; /* of messages */
    uint64_t hash;  /* of those, and of all other events in order */
    unsigned messages;
    unsigned controls;
    unsigned code; /* 0: neither closed nor refused */
};

static void seen_add(struct seen *seen, const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        seen->hash = (seen->hash ^ bytes[i]) * UINT64_C(1099511628211);
    }
}

static void seen_event(struct seen *seen, const struct ws_event *event)
{
    seen_add(seen, event->bytes, event->length);
    switch (event->kind) {
    case WS_DATA:
        seen->bytes += event->length;
        seen->messages += event->is_end;
        assert(event->length > 0 || event->is_end);
        break;
    case WS_PINGED:
    case WS_PONGED:
        assert(event->length <= WS_CONTROL_MOST);
        seen->controls++;
        break;
    case WS_CLOSED:
        assert(event->code >= 1000 && event->code < 5000 && event->length <= WS_REASON_MOST);
        assert(utf8_valid_length((const char *)event->bytes, event->length) == event->length);
        seen->code = event->code;
        break;
    case WS_REFUSED:
        assert(event->code == WS_PROTOCOL_ERROR || event->code == WS_BAD_TEXT);
        seen->code = event->code + 10000;
        break;
    case WS_MORE: break;
    }
}

static struct seen read_all(const uint8_t *data, size_t size, bool is_server, size_t piece)
{
    struct seen seen = {.hash = 1};
    struct ws_reader reader;
    cleanup_free unsigned char *copy = malloc(size + 1);
    assert(copy != NULL);
    memcpy(copy, data, size);
    ws_reader_init(&reader, is_server);
    for (size_t at = 0; at < size && seen.code == 0;) {
        struct ws_event event;
        size_t count = size - at < piece ? size - at : piece;
        size_t used = ws_read(&reader, copy + at, count, &event);
        assert(used <= count && (event.kind != WS_MORE || used == count));
        at += used;
        seen_event(&seen, &event);
    }
    return seen;
}

/* A frame that is written is read as it was. */
static void check_writer(const uint8_t *data, size_t size, bool is_server)
{
    static const unsigned char mask[4] = {1, 2, 3, 250};
    struct ws_reader reader;
    struct ws_event event;
    cleanup_free unsigned char *frame = malloc(size + WS_HEAD_MOST);
    assert(frame != NULL);
    size_t head = ws_head(frame, WS_BINARY, size, is_server ? mask : NULL);
    memcpy(frame + head, data, size);
    if (is_server) {
        ws_mask(frame + head, size, mask, 0);
    }
    ws_reader_init(&reader, is_server);
    assert(ws_read(&reader, frame, head + size, &event) == head + size);
    assert(event.kind == WS_DATA && event.is_end && event.length == size);
    assert(memcmp(event.bytes, data, size) == 0);
}

static void check_key(const uint8_t *data, size_t size)
{
    char accept[WS_ACCEPT_SIZE];
    cleanup_free char *key = strndup((const char *)data, size);
    assert(key != NULL);
    if (ws_key_is_right(key)) {
        ws_accept(key, accept);
        assert(strlen(accept) == WS_ACCEPT_SIZE - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    bool is_server = (input_number(&input, 1) & 1) != 0;
    size_t piece = (size_t)input_number(&input, 1) + 1;
    struct seen whole = read_all(input.data, input.left, is_server, input.left + 1);
    struct seen cut = read_all(input.data, input.left, is_server, piece);
    assert(whole.code == cut.code && whole.messages == cut.messages);
    assert(whole.controls == cut.controls);
    /* A text that is refused may have been handed on in part. */
    assert(whole.code > 10000 || (whole.bytes == cut.bytes && whole.hash == cut.hash));
    check_writer(input.data, input.left, is_server);
    check_key(input.data, input.left);
    return 0;
}

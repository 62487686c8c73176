#include "terminal/websocket/ws_frame.h"

#include <string.h>

#include "common/utf8.h"

#define FINAL      0x80
#define RESERVED   0x70
#define OPCODE     0x0f
#define CONTROL    0x08 /* the bit that the opcodes of control frames have */
#define MASKED     0x80
#define LENGTH     0x7f
#define LENGTH_16  126
#define LENGTH_64  127
#define MASK_SIZE  4
#define LEAST_HEAD 2

void ws_mask(unsigned char *bytes, size_t count, const unsigned char mask[4], uint64_t offset)
{
    unsigned char turned[8];
    uint64_t word, eight;
    for (size_t i = 0; i < sizeof(turned); i++) {
        turned[i] = mask[(offset + i) % MASK_SIZE];
    }
    memcpy(&word, turned, sizeof(word));
    size_t at = 0;
    for (; count - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&eight, bytes + at, sizeof(eight));
        eight ^= word;
        memcpy(bytes + at, &eight, sizeof(eight));
    }
    for (; at < count; at++) {
        bytes[at] ^= turned[at % MASK_SIZE];
    }
}

/* Writes a number in network order. */
static unsigned char *put_number(unsigned char *out, uint64_t number, unsigned size)
{
    for (unsigned i = size; i > 0; i--) {
        *out++ = (unsigned char)(number >> (8 * (i - 1)));
    }
    return out;
}

static uint64_t get_number(const unsigned char *in, unsigned size)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < size; i++) {
        number = number << 8 | in[i];
    }
    return number;
}

size_t ws_head(unsigned char head[WS_HEAD_MOST], enum ws_opcode opcode, uint64_t length,
               const unsigned char *mask)
{
    unsigned char *out = head;
    unsigned char masked = mask == NULL ? 0 : MASKED;
    *out++ = (unsigned char)(FINAL | opcode);
    if (length < LENGTH_16) {
        *out++ = (unsigned char)(masked | length);
    } else if (length <= UINT16_MAX) {
        *out++ = masked | LENGTH_16;
        out = put_number(out, length, 2);
    } else {
        *out++ = masked | LENGTH_64;
        out = put_number(out, length, 8);
    }
    if (mask != NULL) {
        memcpy(out, mask, MASK_SIZE);
        out += MASK_SIZE;
    }
    return (size_t)(out - head);
}

size_t ws_close_payload(unsigned char payload[WS_CONTROL_MOST], unsigned code, const char *reason)
{
    if (code == WS_NO_CODE) {
        return 0;
    }
    size_t length = strlen(reason);
    if (length > WS_REASON_MOST) {
        length = utf8_valid_length(reason, WS_REASON_MOST);
    }
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): it has a length */
    memcpy(put_number(payload, code, 2), reason, length);
    return 2 + length;
}

/* ---- reading ---- */

void ws_reader_init(struct ws_reader *reader, bool is_server)
{
    *reader = (struct ws_reader){.wants_masks = is_server};
}

/* How long the head is, as far as its beginning says. */
static size_t head_size(const struct ws_reader *reader)
{
    size_t size = LEAST_HEAD;
    if (reader->head_length >= LEAST_HEAD) {
        unsigned length = reader->head[1] & LENGTH;
        size += length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;
        size += (reader->head[1] & MASKED) != 0 ? MASK_SIZE : 0;
    }
    return size;
}

/* Takes bytes of the head. How many. */
static size_t take_head(struct ws_reader *reader, const unsigned char *bytes, size_t count)
{
    size_t at = 0;
    while (at < count && reader->head_length < head_size(reader)) {
        reader->head[reader->head_length++] = bytes[at++];
    }
    return at;
}

/* Reads the length of the payload. False: it is not written as it must be. */
static bool read_length(struct ws_reader *reader)
{
    unsigned length = reader->head[1] & LENGTH;
    const unsigned char *number = reader->head + LEAST_HEAD;
    if (length == LENGTH_16) {
        reader->left = get_number(number, 2);
        return reader->left >= LENGTH_16;
    }
    if (length == LENGTH_64) {
        reader->left = get_number(number, 8);
        return reader->left > UINT16_MAX && reader->left <= INT64_MAX;
    }
    reader->left = length;
    return true;
}

/* Whether a frame of this kind may come now. */
static bool is_in_order(const struct ws_reader *reader)
{
    switch (reader->opcode) {
    case WS_CONTINUATION: return reader->message != 0;
    case WS_TEXT:
    case WS_BINARY: return reader->message == 0;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG: return reader->is_final && reader->left <= WS_CONTROL_MOST;
    default: return false;
    }
}

/* The head is complete. Whether it is right. */
static bool begin_frame(struct ws_reader *reader)
{
    bool is_masked = (reader->head[1] & MASKED) != 0;
    reader->is_final = (reader->head[0] & FINAL) != 0;
    reader->opcode = reader->head[0] & OPCODE;
    if ((reader->head[0] & RESERVED) != 0 || is_masked != reader->wants_masks ||
        !read_length(reader) || !is_in_order(reader)) {
        return false;
    }
    if (is_masked) {
        memcpy(reader->mask, reader->head + reader->head_length - MASK_SIZE, MASK_SIZE);
    }
    if (reader->opcode == WS_TEXT || reader->opcode == WS_BINARY) {
        reader->message = reader->opcode;
    }
    reader->in_frame = true;
    reader->done = 0;
    return true;
}

static void end_frame(struct ws_reader *reader)
{
    reader->in_frame = false;
    reader->head_length = 0;
}

/* Takes the bytes of the payload that are there, unmasked. How many. */
static size_t take_payload(struct ws_reader *reader, unsigned char *bytes, size_t count)
{
    size_t length = reader->left < count ? (size_t)reader->left : count;
    if (reader->wants_masks) {
        ws_mask(bytes, length, reader->mask, reader->done);
    }
    reader->left -= length;
    reader->done += length;
    return length;
}

static void refuse_with(struct ws_event *event, unsigned code)
{
    *event = (struct ws_event){.kind = WS_REFUSED, .code = code};
}

/* ---- text ---- */

/* Goes on with the character that the last bytes ended within. False: it is none. */
static bool finish_character(struct ws_reader *reader, const unsigned char *bytes, size_t count,
                             size_t *used)
{
    int length = UTF8_UNFINISHED;
    for (*used = 0; reader->text_length > 0 && *used < count && length == UTF8_UNFINISHED;) {
        reader->text[reader->text_length++] = bytes[(*used)++];
        length = utf8_sequence(reader->text, reader->text_length);
    }
    if (length != UTF8_UNFINISHED) {
        reader->text_length = 0;
    }
    return length != UTF8_INVALID;
}

/* Whether the text is UTF-8 with these bytes, too. */
static bool check_text(struct ws_reader *reader, const unsigned char *bytes, size_t count)
{
    size_t used;
    if (!finish_character(reader, bytes, count, &used)) {
        return false;
    }
    size_t valid = used + utf8_valid_length((const char *)bytes + used, count - used);
    if (valid == count) {
        return true;
    }
    reader->text_length = (unsigned char)(count - valid);
    if (reader->text_length >= sizeof(reader->text) ||
        utf8_sequence(bytes + valid, count - valid) != UTF8_UNFINISHED) {
        return false;
    }
    memcpy(reader->text, bytes + valid, count - valid);
    return true;
}

/* ---- events ---- */

/* Bytes of a message. Whether that is an event. */
static bool read_data(struct ws_reader *reader, unsigned char *bytes, size_t length,
                      struct ws_event *event)
{
    bool is_text = reader->message == WS_TEXT;
    bool is_end = reader->left == 0 && reader->is_final;
    if (is_text && !check_text(reader, bytes, length)) {
        refuse_with(event, WS_BAD_TEXT);
        return true;
    }
    if (reader->left == 0) {
        end_frame(reader);
    }
    if (is_end) {
        reader->message = 0;
        if (reader->text_length > 0) {
            refuse_with(event, WS_BAD_TEXT);
            return true;
        }
    }
    *event = (struct ws_event){
        .kind = WS_DATA, .is_text = is_text, .is_end = is_end, .bytes = bytes, .length = length};
    return length > 0 || is_end;
}

/* Whether an endpoint may send it in a close frame. */
static bool is_code(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static void read_close(struct ws_reader *reader, struct ws_event *event)
{
    size_t length = (size_t)reader->done;
    *event = (struct ws_event){.kind = WS_CLOSED, .code = WS_NO_CODE, .bytes = reader->control};
    if (length == 0) {
        return;
    }
    event->code = length == 1 ? 0 : (unsigned)get_number(reader->control, 2);
    if (!is_code(event->code)) {
        refuse_with(event, WS_PROTOCOL_ERROR);
        return;
    }
    event->bytes += 2;
    event->length = length - 2;
    if (utf8_valid_length((const char *)event->bytes, event->length) != event->length) {
        refuse_with(event, WS_BAD_TEXT);
    }
}

/* Bytes of a control frame. Whether it is whole, which is an event. */
static bool read_control(struct ws_reader *reader, const unsigned char *bytes, size_t length,
                         struct ws_event *event)
{
    memcpy(reader->control + reader->done - length, bytes, length);
    if (reader->left > 0) {
        return false;
    }
    end_frame(reader);
    if (reader->opcode == WS_CLOSE) {
        read_close(reader, event);
        return true;
    }
    *event = (struct ws_event){.kind = reader->opcode == WS_PING ? WS_PINGED : WS_PONGED,
                               .bytes = reader->control,
                               .length = (size_t)reader->done};
    return true;
}

size_t ws_read(struct ws_reader *reader, unsigned char *bytes, size_t count, struct ws_event *event)
{
    for (size_t at = 0;;) {
        if (!reader->in_frame) {
            at += take_head(reader, bytes + at, count - at);
            if (reader->head_length < head_size(reader)) {
                *event = (struct ws_event){.kind = WS_MORE};
                return at;
            }
            if (!begin_frame(reader)) {
                refuse_with(event, WS_PROTOCOL_ERROR);
                return at;
            }
        }
        size_t length = take_payload(reader, bytes + at, count - at);
        unsigned char *payload = bytes + at;
        at += length;
        if ((reader->opcode & CONTROL) != 0 ? read_control(reader, payload, length, event)
                                            : read_data(reader, payload, length, event)) {
            return at;
        }
        if (reader->in_frame) { /* and the bytes are at their end */
            *event = (struct ws_event){.kind = WS_MORE};
            return at;
        }
    }
}

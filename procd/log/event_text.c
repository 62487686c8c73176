#include "procd/log/event_text.h"

#include <string.h>

#define DATA_BEGIN      "\"data\":\""
#define CONTINUED       ",\"continued\":true}"
#define WHOLE           "}"
#define SURROGATE_MIN   0xd800U
#define SURROGATE_MAX   0xdfffU
#define TWO_BYTES_MIN   0x80U
#define THREE_BYTES_MIN 0x800U

static bool edge_ends_with(const struct event_text *event, const char *text)
{
    size_t length = strlen(text);
    return event->edge_length >= length &&
           memcmp(event->edge + event->edge_length - length, text, length) == 0;
}

static bool edge_begins_with(const struct event_text *event, const char *text)
{
    size_t length = strlen(text);
    return event->edge_length >= length && memcmp(event->edge, text, length) == 0;
}

/* Takes bytes into the edge up to `end`. 1 when it is there, 0 when there are no more bytes, -1
 * when the edge is longer than any. */
static int take_edge(struct event_text *event, const char **data, size_t *length, const char *end)
{
    while (*length > 0) {
        if (event->edge_length == sizeof(event->edge)) {
            return -1;
        }
        event->edge[event->edge_length++] = *(*data)++;
        (*length)--;
        event->length++;
        if (edge_ends_with(event, end)) {
            return 1;
        }
    }
    return 0;
}

/* ---- head and tail ---- */

static void begin_state(struct event_text *event, int state)
{
    event->state = state;
    event->edge_length = 0;
}

static enum event_text_kind end_event_text(struct event_text *event, struct event_text_part *part,
                                           enum event_text_kind kind)
{
    part->event_length = event->length;
    *event = (struct event_text){.state = EVENT_AT_HEAD};
    return kind;
}

/* Both kinds of events begin with as many bytes as tell them apart. */
static enum event_text_kind take_head(struct event_text *event, const char **data, size_t *length,
                                      struct event_text_part *part)
{
    while (event->edge_length<EVENT_KIND_SIZE && * length> 0) {
        event->edge[event->edge_length++] = *(*data)++;
        (*length)--;
        event->length++;
    }
    if (event->edge_length < EVENT_KIND_SIZE) {
        return EVENT_TEXT_MORE;
    }
    bool is_line = event_is_line(event->edge, event->edge_length);
    int taken = take_edge(event, data, length, is_line ? DATA_BEGIN : EVENT_END);
    if (taken <= 0) {
        return taken < 0 ? EVENT_TEXT_BAD : EVENT_TEXT_MORE;
    }
    if (is_line) {
        begin_state(event, EVENT_IN_DATA);
        return EVENT_TEXT_PIECE; /* of no bytes: the caller goes on */
    }
    part->event = event_parse(event->edge, event->edge_length);
    return part->event.kind == EVENT_GAP ? end_event_text(event, part, EVENT_TEXT_GAP)
                                         : EVENT_TEXT_BAD;
}

static enum event_text_kind take_tail(struct event_text *event, const char **data, size_t *length,
                                      struct event_text_part *part)
{
    int taken = take_edge(event, data, length, EVENT_END);
    if (taken <= 0) {
        return taken < 0 ? EVENT_TEXT_BAD : EVENT_TEXT_MORE;
    }
    part->is_continued = edge_begins_with(event, CONTINUED EVENT_ID_BEGIN);
    size_t begin = strlen(part->is_continued ? CONTINUED EVENT_ID_BEGIN : WHOLE EVENT_ID_BEGIN);
    size_t end = event->edge_length - strlen(EVENT_END);
    part->event = (struct event){.kind = EVENT_LINE};
    if ((!part->is_continued && !edge_begins_with(event, WHOLE EVENT_ID_BEGIN)) || begin > end ||
        !event_id_parse(event->edge + begin, end - begin, &part->event.id)) {
        return EVENT_TEXT_BAD;
    }
    return end_event_text(event, part, EVENT_TEXT_LINE);
}

/* ---- data ---- */

/* The value of four hexadecimal digits; more than any if they are none. */
static unsigned event_escape_number(const char digits[4])
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char digit = digits[i];
        unsigned part = digit >= '0' && digit <= '9'   ? (unsigned)(digit - '0')
                        : digit >= 'a' && digit <= 'f' ? (unsigned)(digit - 'a') + 10
                        : digit >= 'A' && digit <= 'F' ? (unsigned)(digit - 'A') + 10
                                                       : UINT16_MAX + 1U;
        value = value * 16 + part;
    }
    return value;
}

/* Renders a character; 0 for none that an event has in an escape. */
static size_t render_character(unsigned value, char text[3])
{
    if (value < TWO_BYTES_MIN) {
        text[0] = (char)value;
        return 1;
    }
    if (value < THREE_BYTES_MIN) {
        text[0] = (char)(0xc0U | value >> 6);
        text[1] = (char)(0x80U | (value & 0x3fU));
        return 2;
    }
    if (value > UINT16_MAX || (value >= SURROGATE_MIN && value <= SURROGATE_MAX)) {
        return 0;
    }
    text[0] = (char)(0xe0U | value >> 12);
    text[1] = (char)(0x80U | (value >> 6 & 0x3fU));
    text[2] = (char)(0x80U | (value & 0x3fU));
    return 3;
}

/* What the escape that is whole stands for; 0: it is none. */
static size_t event_escape_text(const struct event_text *event, char text[3])
{
    static const char letters[] = "\"\\/bfnrt";
    static const char characters[] = "\"\\/\b\f\n\r\t";
    if (event->escape[1] == 'u') {
        return render_character(event_escape_number(event->escape + 2), text);
    }
    const char *at = strchr(letters, event->escape[1]);
    if (at == NULL || *at == '\0') {
        return 0;
    }
    text[0] = characters[at - letters];
    return 1;
}

/* How many bytes the escape has, as far as its first ones say. */
static size_t whole_escape(const struct event_text *event)
{
    return event->escape_length >= 2 && event->escape[1] == 'u' ? sizeof(event->escape) : 2;
}

static enum event_text_kind take_event_escape(struct event_text *event, const char **data,
                                              size_t *length, struct event_text_part *part)
{
    while (event->escape_length < whole_escape(event)) {
        if (*length == 0) {
            return EVENT_TEXT_MORE;
        }
        event->escape[event->escape_length++] = *(*data)++;
        (*length)--;
        event->length++;
    }
    event->escape_length = 0;
    part->text = event->character;
    part->length = event_escape_text(event, event->character);
    return part->length > 0 ? EVENT_TEXT_PIECE : EVENT_TEXT_BAD;
}

static enum event_text_kind take_data(struct event_text *event, const char **data, size_t *length,
                                      struct event_text_part *part)
{
    size_t plain = 0;
    if (event->escape_length > 0 || (*length > 0 && **data == '\\')) {
        return take_event_escape(event, data, length, part);
    }
    while (plain < *length && (*data)[plain] != '\\' && (*data)[plain] != '"' &&
           (*data)[plain] != '\n') {
        plain++;
    }
    part->text = *data;
    part->length = plain;
    *data += plain;
    *length -= plain;
    event->length += plain;
    if (plain == 0 && *length > 0) { /* it is the quote, or a newline, which no data has */
        bool is_end = **data == '"';
        (*data)++;
        (*length)--;
        event->length++;
        begin_state(event, EVENT_AT_TAIL);
        return is_end ? EVENT_TEXT_PIECE : EVENT_TEXT_BAD;
    }
    return plain > 0 ? EVENT_TEXT_PIECE : EVENT_TEXT_MORE;
}

enum event_text_kind event_text_next(struct event_text *event, const char **data, size_t *length,
                                     struct event_text_part *part)
{
    *part = (struct event_text_part){.text = ""};
    switch (event->state) {
    case EVENT_AT_HEAD: return take_head(event, data, length, part);
    case EVENT_IN_DATA: return take_data(event, data, length, part);
    case EVENT_AT_TAIL:
    default: return take_tail(event, data, length, part);
    }
}

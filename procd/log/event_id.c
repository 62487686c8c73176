/*
 * Ids are read strictly: a number has no leading zero, so two ids are equal only if their texts
 * are.
 */
#include "procd/log/event_id.h"

#include <stdio.h>
#include <string.h>

#include "common/decimal.h"

#define LINE_BEGIN "event: log"
#define GAP_BEGIN  "event: gap\ndata: {\"missed_lines\":"
#define GAP_END    "}\n\n"
#define END        "end"

_Static_assert(sizeof(LINE_BEGIN) - 1 == EVENT_KIND_SIZE, "it tells a line from a gap");

/* Takes `wanted` from the front of the text. */
static bool event_take_text(const char **text, const char *end, const char *wanted)
{
    size_t length = strlen(wanted);
    if ((size_t)(end - *text) < length || memcmp(*text, wanted, length) != 0) {
        return false;
    }
    *text += length;
    return true;
}

static bool event_take_number(const char **text, const char *end, uint64_t *number)
{
    const char *begin = *text;
    uint64_t value = 0;
    const char *at = begin;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) {
            return false;
        }
    }
    if (at == begin || (*begin == '0' && at - begin > 1)) {
        return false;
    }
    *number = value;
    *text = at;
    return true;
}

/* The eight hexadecimal digits and the dash behind them. */
static bool event_take_tag(const char **text, const char *end)
{
    const char *at = *text;
    if (end - at <= EVENT_TAG_LENGTH || at[EVENT_TAG_LENGTH] != '-') {
        return false;
    }
    for (size_t i = 0; i < EVENT_TAG_LENGTH; i++) {
        if (strchr("0123456789abcdef", at[i]) == NULL || at[i] == '\0') {
            return false;
        }
    }
    *text = at + EVENT_TAG_LENGTH + 1;
    return true;
}

bool event_id_parse(const char *text, size_t length, struct event_id *id)
{
    const char *at = text;
    const char *end = text + length;
    *id = (struct event_id){.offset = 0};
    if (!event_take_tag(&at, end) || !event_take_number(&at, end, &id->offset) ||
        !event_take_text(&at, end, "-") || !event_take_number(&at, end, &id->line) || at != end) {
        return false;
    }
    memcpy(id->text, text, length);
    return true;
}

size_t event_id_render(const char *job_id, uint64_t offset, uint64_t line, char text[EVENT_ID_SIZE])
{
    char *at = mempcpy(text, job_id, EVENT_TAG_LENGTH);
    *at++ = '-';
    at += decimal_render(at, offset);
    *at++ = '-';
    at += decimal_render(at, line);
    *at = '\0';
    return (size_t)(at - text);
}

bool event_id_is_of(const struct event_id *id, const char *job_id)
{
    return strncmp(id->text, job_id, EVENT_TAG_LENGTH) == 0;
}

bool event_id_is_end(const char *text)
{
    const char *end = text + strlen(text);
    return event_take_tag(&text, end) && strcmp(text, END) == 0;
}

void event_id_render_end(const char *job_id, char text[EVENT_ID_SIZE])
{
    const char *at = job_id;
    bool has_tag = event_take_tag(&at, job_id + strlen(job_id));
    (void)snprintf(text, EVENT_ID_SIZE, "%.*s-" END, EVENT_TAG_LENGTH,
                   has_tag ? job_id : "00000000");
}

bool event_is_line(const char *text, size_t length)
{
    const char *at = text;
    return event_take_text(&at, text + length, LINE_BEGIN);
}

/* In the last line before the empty one. */
static bool find_id(const char *text, const char *end, struct event_id *id)
{
    const char *last = end - (sizeof(EVENT_END) - 1);
    if (end - text < (ptrdiff_t)sizeof(EVENT_END) || memcmp(last, EVENT_END, 2) != 0) {
        return false;
    }
    const char *at = memrchr(text, '\n', (size_t)(last - text));
    return at != NULL && event_take_text(&at, last, EVENT_ID_BEGIN) &&
           event_id_parse(at, (size_t)(last - at), id);
}

struct event event_parse(const char *text, size_t length)
{
    struct event event = {.kind = EVENT_UNKNOWN};
    const char *at = text;
    const char *end = text + length;
    if (event_is_line(text, length)) {
        event.kind = find_id(text, end, &event.id) ? EVENT_LINE : EVENT_UNKNOWN;
    } else if (event_take_text(&at, end, GAP_BEGIN) && event_take_number(&at, end, &event.missed) &&
               event_take_text(&at, end, GAP_END) && at == end) {
        event.kind = EVENT_GAP;
    }
    return event;
}

size_t events_end(const char *text, size_t length)
{
    for (size_t end = length; end >= 2; end--) {
        if (text[end - 1] == '\n' && text[end - 2] == '\n') {
            return end;
        }
    }
    return 0;
}

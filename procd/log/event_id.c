/*
 * Reading ids strictly: a number has no leading zero, so that an id is equal to another only if
 * their texts are.
 */
#include "procd/log/event_id.h"

#include <string.h>

#define LINE_BEGIN "id: "
#define GAP_BEGIN  "event: gap\ndata: {\"missed_lines\":"
#define GAP_END    "}\n\n"

/* Takes `wanted` from the front of the text. */
static bool take_text(const char **text, const char *end, const char *wanted)
{
    size_t length = strlen(wanted);
    if ((size_t)(end - *text) < length || memcmp(*text, wanted, length) != 0) {
        return false;
    }
    *text += length;
    return true;
}

static bool take_number(const char **text, const char *end, uint64_t *number)
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
static bool take_tag(const char **text, const char *end)
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
    *id = (struct event_id){.numbered = take_tag(&at, end)};
    if (!take_number(&at, end, &id->offset) ||
        (id->numbered && (!take_text(&at, end, "-") || !take_number(&at, end, &id->line))) ||
        at != end) {
        return false;
    }
    memcpy(id->text, text, length);
    return true;
}

bool event_id_is_of(const struct event_id *id, const char *job_id)
{
    return !id->numbered || strncmp(id->text, job_id, EVENT_TAG_LENGTH) == 0;
}

struct event_head event_head_parse(const char *text, size_t length)
{
    struct event_head head = {.kind = EVENT_UNKNOWN};
    const char *at = text;
    const char *end = text + length;
    if (take_text(&at, end, LINE_BEGIN)) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline != NULL && event_id_parse(at, (size_t)(newline - at), &head.id)) {
            head.kind = EVENT_LINE;
        }
    } else if (take_text(&at, end, GAP_BEGIN) && take_number(&at, end, &head.missed) &&
               take_text(&at, end, GAP_END)) {
        head.kind = EVENT_GAP;
        head.length = (size_t)(at - text);
    }
    return head;
}

#include "fcgi-app/http/query.h"

#include <ctype.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/request.h"

static int hex_digit(char digit)
{
    if (!isxdigit((unsigned char)digit)) {
        return -1;
    }
    return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
}

/* One decoded byte; moves *text on. A % that begins no %xx stands for itself. */
static char decode_byte(const char **text)
{
    const char *at = (*text)++;
    if (*at == '+') {
        return ' ';
    }
    if (*at == '%') {
        int high = hex_digit(at[1]);
        int low = high < 0 ? -1 : hex_digit(at[2]);
        if (low >= 0) {
            *text = at + 3;
            return (char)(high * 16 + low);
        }
    }
    return *at;
}

/* Decodes into `out`, which has room for `length` bytes and a NUL. False when one is in it. */
static bool decode_parameter(char *out, const char *text, size_t length)
{
    for (const char *end = text + length; text < end;) {
        *out = decode_byte(&text);
        if (*out++ == '\0') {
            return false;
        }
    }
    *out = '\0';
    return true;
}

/* The raw value of the first parameter of this name, and its length; NULL if there is none. */
static const char *find_parameter(const char *query, const char *name, size_t *value_length)
{
    size_t name_length = strlen(name);
    while (*query != '\0') {
        size_t length = strcspn(query, "&");
        if (length > name_length && query[name_length] == '=' &&
            strncmp(query, name, name_length) == 0) {
            *value_length = length - name_length - 1;
            return query + name_length + 1;
        }
        query += length;
        query += *query == '&';
    }
    return NULL;
}

/* `text` is NULL for one with a NUL. */
static int take_flag(struct json_value *value, const char *text, struct json_refusal *refusal)
{
    static const struct json_span on = {"true", 4}, off = {"false", 5};
    bool is_on = text != NULL && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
    if (!is_on && (text == NULL || (strcmp(text, "0") != 0 && strcmp(text, "false") != 0))) {
        return json_refuse_invalid(refusal, "Invalid %s: it must be true, false, 1 or 0",
                                   value->member->name);
    }
    value->span = is_on ? on : off;
    return 0;
}

/* Decodes to `room`, which has room for all of the query. The room that is left, or NULL. */
static char *take_parameter(struct json_value *value, const char *query, char *room,
                            struct json_refusal *refusal)
{
    const struct json_member *member = value->member;
    size_t length;
    const char *raw = find_parameter(query, member->name, &length);
    value->seen = raw != NULL && length > 0;
    if (!value->seen) {
        return member->required && json_refuse_absent(refusal, member) < 0 ? NULL : room;
    }
    value->text = decode_parameter(room, raw, length) ? room : NULL;
    if (member->kind == JSON_FLAG) {
        return take_flag(value, value->text, refusal) < 0 ? NULL : room;
    }
    if (value->text == NULL) {
        (void)json_refuse_invalid(refusal, "%s contains a NUL character", member->name);
        return NULL;
    }
    return room + strlen(room) + 1;
}

struct json_body *query_read(struct request *request, const struct json_member *members,
                             size_t count, unsigned flags)
{
    struct json_refusal refusal = {.status = 0};
    const char *query = request_query(request);
    cleanup_(json_freep) struct json_body *body = json_body_new(members, count, strlen(query) + 1);
    if (body == NULL) {
        (void)json_refuse(&refusal, 500, ERROR_internal, "Out of memory");
        json_answer_refusal(request, &refusal, flags);
        return NULL;
    }
    char *room = (char *)&body->values[count];
    for (size_t i = 0; i < count; i++) {
        room = take_parameter(&body->values[i], query, room, &refusal);
        if (room == NULL) {
            json_answer_refusal(request, &refusal, flags);
            return NULL;
        }
    }
    return steal_pointer(body);
}

#include "fcgi-app/http/query.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/request.h"

char percent_decode(const char **text)
{
    const char *at = (*text)++;
    if (*at == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
        const char digits[] = {at[1], at[2], '\0'};
        *text = at + 3;
        return (char)strtoul(digits, NULL, 16);
    }
    return *at;
}

bool percent_decode_all(char *text)
{
    char *out = text;
    bool is_text = true;
    for (const char *at = text; *at != '\0';) {
        *out = percent_decode(&at);
        is_text = is_text && *out != '\0';
        out++;
    }
    *out = '\0';
    return is_text;
}

/* Decodes into `out`, which has room for `length` bytes and a NUL. False when one is in it. */
static bool decode_parameter(char *out, const char *text, size_t length)
{
    for (const char *end = text + length; text < end;) {
        bool is_plus = *text == '+';
        *out = percent_decode(&text);
        if (is_plus) {
            *out = ' ';
        }
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

int query_next(const char **at, const char *name, char *out)
{
    size_t length;
    const char *raw;
    while ((raw = find_parameter(*at, name, &length)) != NULL) {
        *at = raw + length;
        if (length > 0) {
            return decode_parameter(out, raw, length) ? 1 : -1;
        }
    }
    return 0;
}

static int take_flag(struct json_body *body, struct json_value *value, bool is_text)
{
    static const struct json_span on = {"true", 4}, off = {"false", 5};
    const char *text = is_text ? value->text : "";
    bool is_on = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
    if (!is_on && strcmp(text, "0") != 0 && strcmp(text, "false") != 0) {
        return json_refuse_invalid(body, "Invalid %s: it must be true, false, 1 or 0",
                                   value->member->name);
    }
    value->span = is_on ? on : off;
    return 0;
}

/* Decodes to *room, which has room for all of the query, and moves it on. 0, or -1 when the query
 * is refused. */
static int take_parameter(struct json_body *body, struct json_value *value, const char *query,
                          char **room)
{
    const struct json_member *member = value->member;
    size_t length;
    const char *raw = find_parameter(query, member->name, &length);
    value->seen = raw != NULL && length > 0;
    if (!value->seen) {
        return member->required ? json_refuse_absent(body, member) : 0;
    }
    bool is_text = decode_parameter(*room, raw, length);
    value->text = *room;
    *room += strlen(*room) + 1;
    if (member->kind == JSON_FLAG) {
        return take_flag(body, value, is_text);
    }
    return is_text ? 0 : json_refuse_invalid(body, "%s contains a NUL character", member->name);
}

struct json_body *query_read(struct request *request, const struct json_member *members,
                             size_t count, unsigned flags)
{
    const char *query = request_query(request);
    cleanup_(json_freep) struct json_body *body = json_body_new(members, count, strlen(query) + 1);
    char *room = body == NULL ? NULL : (char *)&body->values[count];
    int taken = body == NULL ? -1 : 0;
    for (size_t i = 0; taken == 0 && i < count; i++) {
        taken = take_parameter(body, &body->values[i], query, &room);
    }
    if (taken == 0) {
        return steal_pointer(body);
    }
    json_answer_refusal(request, body, flags);
    return NULL;
}

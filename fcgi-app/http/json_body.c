#include "fcgi-app/http/json_body.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/spool.h"
#include "fcgi-app/http/answer.h"

/* Of content being decoded: on the stack. */
#define PIECE_SIZE 16384

/* Bytes decoded between two reliefs of the view. */
#define RELAX_EVERY (4 << 20)

struct json_body *json_body_new(const struct json_member *members, size_t count, size_t room)
{
    struct json_body *body = calloc(1, sizeof(*body) + count * sizeof(body->values[0]) + room);
    if (body != NULL) {
        body->count = count;
        body->early.fd = -1;
        for (size_t i = 0; i < count; i++) {
            body->values[i].member = &members[i];
        }
    }
    return body;
}

int json_refuse(struct json_body *body, int status, enum api_error error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    body->refusal.status = status;
    body->refusal.error = error;
    (void)vsnprintf(body->refusal.message, sizeof(body->refusal.message), format, arguments);
    va_end(arguments);
    return -1;
}

int json_refuse_absent(struct json_body *body, const struct json_member *member)
{
    return member->missing != NULL ? json_refuse_invalid(body, "%s", member->missing)
                                   : json_refuse_invalid(body, "%s is required", member->name);
}

void json_answer_refusal(struct request *request, const struct json_body *body, unsigned flags)
{
    static const struct json_refusal no_memory = {500, ERROR_internal, NULL, "Out of memory"};
    const struct json_refusal *refusal = body == NULL ? &no_memory : &body->refusal;
    if (refusal->status != 0) {
        answer_error_with(request, refusal->status, refusal->error, refusal->headers,
                          (flags & JSON_ANSWER_FAILURE) != 0 ? ERROR_FAILURE : 0, "%s",
                          refusal->message);
    }
}

bool json_is_plain_digits(struct json_span span)
{
    for (size_t i = 0; i < span.length; i++) {
        if (span.data[i] < '0' || span.data[i] > '9') {
            return false;
        }
    }
    return true;
}

uint64_t json_digits_value(struct json_span span)
{
    uint64_t count = 0;
    for (size_t i = 0; i < span.length && count <= JSON_COUNT_MAX; i++) {
        count = count * 10 + (uint64_t)(span.data[i] - '0');
    }
    return count;
}

void json_forget(struct json_body *body)
{
    for (size_t i = 0; i < body->count && body->spool != NULL; i++) {
        struct json_value *value = &body->values[i];
        json_environment_clear(&value->environment);
        json_texts_clear(&value->texts);
        free(value->text);
        *value = (struct json_value){.member = value->member};
    }
    body->unknown = 0;
    body->names_end = false;
    body->refusal = (struct json_refusal){.status = 0};
}

void json_free(struct json_body *body)
{
    if (body != NULL) {
        json_forget(body);
        close_fd(&body->early.fd);
        spool_free(body->is_item ? NULL : body->spool);
        free(body);
    }
}

void json_freep(struct json_body **body)
{
    json_free(*body);
    *body = NULL;
}

static const struct json_value *find_value(const struct json_body *body, const char *name)
{
    static const struct json_value absent = {.seen = false};
    for (size_t i = 0; body != NULL && i < body->count; i++) {
        if (strcmp(body->values[i].member->name, name) == 0) {
            return &body->values[i];
        }
    }
    return &absent;
}

const char *json_text(const struct json_body *body, const char *name)
{
    return find_value(body, name)->text;
}

bool json_is_given(const struct json_body *body, const char *name)
{
    return find_value(body, name)->seen;
}

uint64_t json_count(const struct json_body *body, const char *name, uint64_t fallback)
{
    const struct json_value *value = find_value(body, name);
    return value->seen ? json_digits_value(value->span) : fallback;
}

bool json_flag(const struct json_body *body, const char *name)
{
    const struct json_value *value = find_value(body, name);
    return value->seen && value->span.data[0] == 't';
}

const char *const *json_environment(const struct json_body *body, const char *name, size_t *count)
{
    const struct json_value *value = find_value(body, name);
    *count = value->environment.count;
    return (const char *const *)value->environment.entries;
}

const char *const *json_texts(const struct json_body *body, const char *name, size_t *count)
{
    const struct json_value *value = find_value(body, name);
    *count = value->texts.count;
    return value->texts.all;
}

struct json_span json_list(const struct json_body *body, const char *name)
{
    const struct json_value *value = find_value(body, name);
    return value->seen ? value->span : (struct json_span){.length = 0};
}

bool json_is_strict(const struct json_body *body)
{
    return body->is_strict;
}

const char *json_name_shown(struct json_span name, char shown[JSON_NAME_SHOWN])
{
    static const char more[] = "...";
    size_t length = json_decode(&name, shown, JSON_NAME_SHOWN - sizeof(more));
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)shown[i] < ' ') {
            shown[i] = '?';
        }
    }
    memcpy(shown + length, name.length > 0 ? more : "", name.length > 0 ? sizeof(more) : 1);
    return shown;
}

struct json_span json_nested(const struct json_body *body, const char *name)
{
    return json_list(body, name);
}

int json_content(const struct json_body *body, const char *name,
                 int (*sink)(void *context, const char *data, size_t length), void *context)
{
    const struct json_value *value = find_value(body, name);
    if (!value->seen) {
        return 0;
    }
    if (value->member == body->early.member) {
        return json_early_read(&body->early, sink, context);
    }
    size_t since_relief = 0;
    for (struct json_span rest = value->span; rest.length > 0;) {
        char piece[PIECE_SIZE];
        size_t before = rest.length, length = json_decode(&rest, piece, sizeof(piece));
        int result = sink(context, piece, length);
        if (result != 0) {
            return result;
        }
        since_relief += before - rest.length;
        if (since_relief >= RELAX_EVERY) {
            spool_relax_view(body->spool);
            since_relief = 0;
        }
    }
    return 0;
}

size_t json_content_size(const struct json_body *body, const char *name)
{
    const struct json_value *value = find_value(body, name);
    return !value->seen ? 0 : value->member == body->early.member ? SIZE_MAX : value->span.length;
}

int json_content_file(const struct json_body *body, int *failure)
{
    *failure = body->early.failure;
    return body->early.fd;
}

/*
 * A body goes through four steps: it is read into a spool, it is scanned, its wanted members are
 * noted as spans of the spool's view, and those that are wanted as text are decoded. The step that
 * fails notes the refusal, which becomes the answer. A body that turns out to be large is scanned
 * as far as it has come: perhaps its content is arriving, and need not go into the spool.
 */
#include "fcgi-app/http/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/spool.h"
#include "fcgi-app/http/prefer.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/spools.h"

/* Of a body being read: on the stack. */
#define PIECE_SIZE 16384

/* Of a text member as it stands in the body: it is decoded in memory. */
#define TEXT_MAX (32 << 20)

/* Of the environment, and of the arguments; the kernel takes 2 MiB of both together by default,
 * 6 MiB at most. */
#define ENV_MAX (4 << 20)

static uint64_t body_max;
static size_t memory_max;

void json_init(uint64_t max_body, size_t in_memory)
{
    body_max = max_body;
    memory_max = in_memory;
}

/* ---- reading ---- */

static int refuse_unkept(struct json_body *body)
{
    if (errno == EFBIG && body_max != 0) {
        return json_refuse(body, 413, ERROR_too_large, "Request body is larger than %llu bytes",
                           (unsigned long long)body_max);
    }
    return json_refuse(body, 500, api_error_of_errno(errno), "Request body could not be kept: %s",
                       error_text(errno));
}

/* Reads what is left of a body that is refused: nginx would throw the client's next request away
 * together with the rest of a body that was answered before its end. Always -1. */
static int drain_body(struct request *request, struct json_body *body)
{
    char piece[PIECE_SIZE];
    ssize_t length;
    while ((length = request_read(request, piece, sizeof(piece))) > 0) {
    }
    if (length < 0 && body != NULL) {
        body->refusal.status = 0;
    }
    return -1;
}

/* Whether a body in these codings is the body itself: each of the list is "identity". */
static bool is_identity(const char *codings)
{
    static const char space[] = " \t,";
    static const char identity[] = "identity";
    const size_t length = sizeof(identity) - 1;
    for (const char *at = codings + strspn(codings, space); *at != '\0'; at += strspn(at, space)) {
        if (strcspn(at, space) != length || strncasecmp(at, identity, length) != 0) {
            return false;
        }
        at += length;
    }
    return true;
}

static int check_coding(struct request *request, struct json_body *body)
{
    const char *codings = request_param(request, "HTTP_CONTENT_ENCODING");
    if (is_identity(codings)) {
        return 0;
    }
    body->refusal.headers = "Accept-Encoding: identity\r\n"; /* RFC 7694 */
    (void)json_refuse(body, 415, ERROR_unsupported,
                      "Content-Encoding: %.100s is not supported; send the body without it",
                      codings);
    return drain_body(request, body);
}

/* ---- scanning ---- */

#define TYPE(name) (1U << JSON_TYPE_##name)

static const struct {
    const char *name;
    unsigned types; /* of a value, besides null and "" */
    size_t most;    /* bytes as they stand in the body, 0: any number */
} kinds[] = {
    [JSON_TEXT] = {"a string", TYPE(STRING), TEXT_MAX},
    [JSON_TEXT_OR_INT] = {"a string or a whole number in plain digits", TYPE(STRING) | TYPE(NUMBER),
                          TEXT_MAX},
    [JSON_COUNT] = {"a whole number in plain digits, at most 2^53 - 1", TYPE(NUMBER), 0},
    [JSON_FLAG] = {"true or false", TYPE(BOOLEAN), 0},
    [JSON_CONTENT] = {"a string", TYPE(STRING), 0},
    [JSON_ENVIRONMENT] = {"an object", TYPE(OBJECT), ENV_MAX},
    [JSON_LIST] = {"an array", TYPE(ARRAY), TEXT_MAX},
    [JSON_TEXTS] = {"an array of strings", TYPE(ARRAY), ENV_MAX},
    [JSON_NESTED] = {"an object", TYPE(OBJECT), TEXT_MAX},
};

static bool fits(enum json_kind kind, enum json_type type, struct json_span span)
{
    if (type == JSON_TYPE_NULL || (type == JSON_TYPE_STRING && span.length == 0)) {
        return true;
    }
    return (kinds[kind].types & 1U << type) != 0 &&
           (type != JSON_TYPE_NUMBER || json_is_plain_digits(span)) &&
           (kind != JSON_COUNT || json_digits_value(span) <= JSON_COUNT_MAX);
}

/* Notes the name of a member that is not known. The scan goes on, so that all are named. */
static void note_unknown(struct json_body *body, struct json_span name)
{
    char shown[JSON_NAME_SHOWN];
    char *message = body->refusal.message;
    size_t size = sizeof(body->refusal.message);
    size_t used = body->unknown == 0 ? 0 : strlen(message);
    (void)json_name_shown(name, shown);
    if (used + strlen(shown) + sizeof("Unknown members: , and others") < size) {
        (void)snprintf(message + used, size - used, "%s%s",
                       body->unknown == 0 ? "Unknown members: " : ", ", shown);
    } else if (!body->names_end) {
        (void)snprintf(message + used, size - used, " and others");
        body->names_end = true;
    }
    body->unknown++;
}

static int refuse_unknown(struct json_body *body)
{
    if (body->unknown == 0) {
        return 0;
    }
    body->refusal.status = 400;
    body->refusal.error = ERROR_invalid_request;
    return -1;
}

/* Notes where a wanted member is. */
static bool note_member(void *context, struct json_span name, enum json_type type,
                        struct json_span span)
{
    struct json_body *body = context;
    for (size_t i = 0; i < body->count; i++) {
        struct json_value *value = &body->values[i];
        const struct json_member *member = value->member;
        if (!json_decodes_to(name, member->name)) {
            continue;
        }
        if (value->seen) {
            return json_refuse_invalid(body, "%s is given twice", member->name) == 0;
        }
        if (!fits(member->kind, type, span)) {
            return json_refuse_invalid(body, "%s must be %s", member->name,
                                       kinds[member->kind].name) == 0;
        }
        value->seen = true;
        value->type = type;
        value->span = span;
        return true;
    }
    if (body->is_strict) {
        note_unknown(body, name);
    }
    return true;
}

/* The length of a byte order mark that the text begins with: some programs write one, and it is no
 * part of the text (RFC 8259, 8.1). */
static size_t mark_length(const char *text, size_t length)
{
    static const char mark[3] = "\xef\xbb\xbf";
    return length >= sizeof(mark) && memcmp(text, mark, sizeof(mark)) == 0 ? sizeof(mark) : 0;
}

/* Whether the text is UTF-16 or UTF-32: it begins with a mark of theirs, or its first character,
 * which would be one of ASCII, has a NUL beside it. */
static bool is_wide(const char *text, size_t length)
{
    return length >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0 ||
                           (text[0] == '\0') != (text[1] == '\0') ||
                           (length >= 4 && memcmp(text, "\0\0\xfe\xff", 4) == 0));
}

/* The offset in the body of one in the spool. */
static uint64_t offset_in_body(const struct json_body *body, uint64_t offset)
{
    return offset < body->early.begin ? offset : offset + body->early.length;
}

static int scan_body(struct json_body *body, unsigned flags)
{
    size_t length = (size_t)spool_size(body->spool);
    const char *text = spool_view(body->spool);
    if (text == NULL) {
        return refuse_unkept(body);
    }
    if (is_wide(text, length)) {
        return json_refuse(body, 400, ERROR_invalid_json,
                           "Invalid JSON at byte 0: UTF-16 or UTF-32, send it as UTF-8");
    }
    size_t mark = mark_length(text, length);
    if (length == mark && (flags & JSON_MAY_BE_EMPTY) != 0) {
        return 0;
    }
    struct json_scan_error error;
    int scanned = json_scan_object(text + mark, length - mark, note_member, body, &error);
    spool_relax_view(body->spool);
    if (scanned < 0) {
        return json_refuse(body, 400, ERROR_invalid_json, "Invalid JSON at byte %llu: %s",
                           (unsigned long long)offset_in_body(body, mark + error.offset),
                           error.reason);
    }
    return scanned == 0 ? refuse_unknown(body) : -1;
}

/* ---- taking the members out ---- */

static int take_text_member(struct json_body *body, struct json_value *value)
{
    const char *name = value->member->name;
    struct json_span span = value->span;
    if (json_has_lone_surrogate(span)) {
        return json_refuse_invalid(body, "%s contains a lone surrogate", name);
    }
    size_t room = span.length + 4; /* decoding never makes a string longer */
    value->text = malloc(room + 1);
    if (value->text == NULL) {
        return json_refuse(body, 500, ERROR_internal, "Out of memory");
    }
    size_t length = json_decode(&span, value->text, room);
    value->text[length] = '\0';
    return strlen(value->text) == length
               ? 0
               : json_refuse_invalid(body, "%s contains a NUL character", name);
}

static int take_environment(struct json_body *body, struct json_value *value)
{
    char fault[JSON_ENVIRONMENT_FAULT_SIZE];
    int taken = json_environment_take(&value->environment, value->span, fault);
    if (taken < 0) {
        return json_refuse(body, 500, ERROR_internal, "Out of memory");
    }
    return taken == 0 ? 0 : json_refuse_invalid(body, "%s: %s", value->member->name, fault);
}

static int take_texts(struct json_body *body, struct json_value *value)
{
    const char *fault;
    int taken = json_texts_take(&value->texts, value->span, &fault);
    if (taken < 0) {
        return json_refuse(body, 500, ERROR_internal, "Out of memory");
    }
    return taken == 0 ? 0 : json_refuse_invalid(body, "%s: %s", value->member->name, fault);
}

/* Whether a member counts as given. */
static bool is_given(const struct json_value *value)
{
    return value->seen && value->type != JSON_TYPE_NULL &&
           (value->span.length > 0 || value->member->kind == JSON_CONTENT ||
            value->member->may_be_empty);
}

static int take_value(struct json_body *body, struct json_value *value)
{
    const struct json_member *member = value->member;
    if (!is_given(value)) {
        value->seen = false;
        return member->required ? json_refuse_absent(body, member) : 0;
    }
    size_t most = kinds[member->kind].most;
    if (most > 0 && value->span.length > most) {
        return json_refuse(body, 413, ERROR_too_large, "%s is longer than %zu MiB", member->name,
                           most >> 20);
    }
    if (member->kind == JSON_ENVIRONMENT) {
        return take_environment(body, value);
    }
    if (member->kind == JSON_TEXTS) {
        return take_texts(body, value);
    }
    bool is_text = member->kind == JSON_TEXT || member->kind == JSON_TEXT_OR_INT;
    return is_text ? take_text_member(body, value) : 0;
}

static int take_values(struct json_body *body)
{
    for (size_t i = 0; i < body->count; i++) {
        if (take_value(body, &body->values[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

struct json_body *json_item(const struct json_body *body, struct json_span object,
                            const struct json_member *members, size_t count)
{
    struct json_body *item = json_body_new(members, count, 0);
    if (item != NULL) {
        struct json_scan_error error;
        item->spool = body->spool;
        item->is_item = true;
        item->is_strict = body->is_strict;
        /* It is valid, so a refusal alone stops the scan. */
        if (json_scan_object(object.data, object.length, note_member, item, &error) == 0 &&
            refuse_unknown(item) == 0) {
            (void)take_values(item);
        }
    }
    return item;
}

/* ---- content that goes to a file while it arrives ---- */

/* The value in whose string the text ends, if its content may be early; NULL otherwise. *string
 * becomes the beginning of what is inside the quotes. */
static const struct json_value *find_open_string(struct json_body *body, const char *text,
                                                 size_t length, const char **string)
{
    struct json_scan_error error;
    size_t mark = mark_length(text, length);
    if (json_scan_object(text + mark, length - mark, note_member, body, &error) >= 0 ||
        error.string == NULL || length - mark - error.offset > JSON_CUT_MAX) {
        return NULL;
    }
    *string = error.string;
    for (size_t i = 0; i < body->count; i++) {
        const struct json_value *value = &body->values[i];
        if (value->member->early != NULL && json_decodes_to(error.name, value->member->name)) {
            return value;
        }
    }
    return NULL;
}

/*
 * Once what has arrived fills the memory: lets content that is arriving go to its file from here
 * on, if it can. The part of it that is here goes there. What it leaves, the beginning of a
 * character, comes into `held`, and its length is returned.
 */
static size_t begin_early(struct json_body *body, char *held)
{
    int fd = -1;
    size_t length = (size_t)spool_size(body->spool);
    const char *text = spool_view(body->spool), *string;
    const struct json_value *value =
        text == NULL ? NULL : find_open_string(body, text, length, &string);
    if (value != NULL && take_values(body) == 0) {
        fd = value->member->early(body);
    }
    json_forget(body);
    if (fd < 0 || spool_shorten(body->spool, (uint64_t)(string - text)) != 0) {
        close_fd(&fd);
        body->early.state = JSON_EARLY_OVER;
        return 0;
    }
    body->early =
        (struct json_early){JSON_EARLY_OPEN, value->member, fd, .begin = (uint64_t)(string - text)};
    size_t inside = (size_t)(text + length - string);
    size_t taken = json_early_take(&body->early, string, inside);
    memcpy(held, string + taken, inside - taken);
    return inside - taken;
}

/*
 * Keeps the first *length bytes of `piece`, which have arrived, or lets their content go to its
 * file. What waits for more (never when it is the last) is moved to the beginning, and *length
 * becomes its length. 0, or -1 with errno.
 */
static int keep_arrived(struct json_body *body, char *piece, size_t *length, bool last)
{
    size_t taken = 0;
    if (body_max != 0 && spool_size(body->spool) + body->early.length + *length > body_max) {
        errno = EFBIG;
        return -1;
    }
    if (body->early.state == JSON_EARLY_OPEN) {
        taken = json_early_take(&body->early, piece, *length);
        *length -= taken;
        if (body->early.state == JSON_EARLY_OPEN && !last) {
            memmove(piece, piece + taken, *length);
            return 0;
        }
    }
    size_t kept = *length;
    *length = 0;
    return spool_write(body->spool, piece + taken, kept);
}

static int read_body(struct request *request, struct json_body *body)
{
    char piece[JSON_CUT_MAX + PIECE_SIZE];
    size_t held = 0;
    ssize_t length;
    do {
        if (body->early.state == JSON_EARLY_NOT_YET && spool_size(body->spool) >= memory_max) {
            held = begin_early(body, piece);
        }
        length = request_read(request, piece + held, PIECE_SIZE);
        if (length < 0) {
            return -1;
        }
        held += (size_t)length;
        if (keep_arrived(body, piece, &held, length == 0) != 0) {
            bool is_too_large = errno == EFBIG; /* and so is the rest, perhaps */
            (void)refuse_unkept(body);
            return is_too_large ? -1 : drain_body(request, body);
        }
    } while (length > 0);
    return 0;
}

/* ---- the front ---- */

static struct json_body *new_body(const struct json_member *members, size_t count)
{
    struct json_body *body = json_body_new(members, count, 0);
    if (body != NULL) {
        body->spool = spool_new(spools_directory(), memory_max + PIECE_SIZE);
        if (body->spool == NULL) {
            json_freep(&body);
        }
    }
    return body;
}

struct json_body *json_read(struct request *request, const struct json_member *members,
                            size_t count, unsigned flags)
{
    cleanup_(json_freep) struct json_body *body = new_body(members, count);
    if (body != NULL && prefers_strict_handling(request_param(request, "HTTP_PREFER"))) {
        body->is_strict = true;
        request_note(request, PREFERENCE_APPLIED_STRICT);
    }
    if (body == NULL) {
        (void)drain_body(request, body);
    } else if (check_coding(request, body) == 0 && read_body(request, body) == 0 &&
               scan_body(body, flags) == 0 && take_values(body) == 0) {
        return steal_pointer(body);
    }
    json_answer_refusal(request, body, flags);
    return NULL;
}

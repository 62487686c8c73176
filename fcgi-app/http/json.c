/*
 * The strict JSON front: from a request's body to its wanted members.
 */
#include "fcgi-app/http/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/spool.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/json/json_environment.h"
#include "fcgi-app/json/json_scan.h"

/* Of a body being read, of content being decoded: on the stack. */
#define PIECE_SIZE 16384

/* Of a body in memory; the rest is in a file. */
#define MEMORY_MAX (256 << 10)

/* Of a text member as it stands in the body: it is decoded in memory. */
#define TEXT_MAX (32 << 20)

/* Of the environment; the kernel takes 2 MiB by default, 6 MiB at most. */
#define ENV_MAX (4 << 20)

/* Bytes decoded between two reliefs of the view. */
#define RELAX_EVERY (4 << 20)

struct value {
    const struct json_member *member;
    bool seen; /* given, be it as null */
    enum json_type type;
    struct json_span span; /* in the view of the spool */
    char *text;            /* JSON_TEXT*: decoded, or NULL */
    struct json_environment environment;
};

struct json_body {
    struct spool *spool;
    size_t count;
    struct value values[];
};

/* Why a body is refused. */
struct refusal {
    int status;          /* 0: the client has left */
    const char *headers; /* lines of the answer, or NULL */
    char message[512];
};

static uint64_t body_max;

void json_init(uint64_t max_body)
{
    body_max = max_body;
}

__attribute__((format(printf, 3, 4))) static int refuse(struct refusal *refusal, int status,
                                                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refusal->status = status;
    (void)vsnprintf(refusal->message, sizeof(refusal->message), format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- reading ---- */

static int refuse_unkept(struct refusal *refusal)
{
    if (errno == EFBIG && body_max != 0) {
        return refuse(refusal, 413, "Request body is larger than %llu bytes",
                      (unsigned long long)body_max);
    }
    return refuse(refusal, 500, "Request body could not be kept: %s", error_text(errno));
}

/*
 * Reads the body into the spool; without one (NULL), or when that fails, it is read all the same,
 * unless it is too large: nginx would throw the client's next request away together with the rest
 * of a body that was answered before its end.
 */
static int read_body(struct request *request, struct spool *spool, struct refusal *refusal)
{
    char piece[PIECE_SIZE];
    ssize_t length;
    while ((length = request_read(request, piece, sizeof(piece))) > 0) {
        if (spool != NULL && spool_write(spool, piece, (size_t)length) != 0) {
            bool is_too_large = errno == EFBIG;
            (void)refuse_unkept(refusal);
            if (is_too_large) {
                return -1;
            }
            spool = NULL;
        }
    }
    if (length < 0) {
        refusal->status = 0;
        return -1;
    }
    return spool == NULL ? -1 : 0;
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

/* A body in another coding is read, for it comes before the answer, and taken for nothing. */
static int check_coding(struct request *request, struct refusal *refusal)
{
    const char *codings = request_content_encoding(request);
    if (is_identity(codings)) {
        return 0;
    }
    refusal->headers = "Accept-Encoding: identity\r\n"; /* RFC 7694 */
    (void)refuse(refusal, 415,
                 "Content-Encoding: %.100s is not supported; send the body without it", codings);
    return read_body(request, NULL, refusal);
}

/* ---- scanning ---- */

static const char *wanted_type(enum json_kind kind)
{
    switch (kind) {
    case JSON_TEXT_OR_INT:
        return "a string or a whole number in plain digits";
    case JSON_COUNT:
        return "a whole number in plain digits, at most 2^53 - 1";
    case JSON_FLAG:
        return "true or false";
    case JSON_ENVIRONMENT:
        return "an object";
    case JSON_TEXT:
    case JSON_CONTENT:
        break;
    }
    return "a string";
}

static bool is_plain_digits(struct json_span span)
{
    for (size_t i = 0; i < span.length; i++) {
        if (span.data[i] < '0' || span.data[i] > '9') {
            return false;
        }
    }
    return true;
}

/* The number in a span of plain digits, or more than JSON_COUNT_MAX. */
static uint64_t count_of(struct json_span span)
{
    uint64_t count = 0;
    for (size_t i = 0; i < span.length && count <= JSON_COUNT_MAX; i++) {
        count = count * 10 + (uint64_t)(span.data[i] - '0');
    }
    return count;
}

static bool fits(enum json_kind kind, enum json_type type, struct json_span span)
{
    bool takes_text = kind == JSON_TEXT || kind == JSON_TEXT_OR_INT || kind == JSON_CONTENT;
    switch (type) {
    case JSON_TYPE_NULL:
        return true;
    case JSON_TYPE_STRING:
        return takes_text || span.length == 0;
    case JSON_TYPE_NUMBER:
        return is_plain_digits(span) && (kind == JSON_TEXT_OR_INT ||
                                         (kind == JSON_COUNT && count_of(span) <= JSON_COUNT_MAX));
    case JSON_TYPE_OBJECT:
        return kind == JSON_ENVIRONMENT;
    case JSON_TYPE_BOOLEAN:
        return kind == JSON_FLAG;
    case JSON_TYPE_ARRAY:
        break;
    }
    return false;
}

struct collection {
    struct json_body *body;
    struct refusal *refusal;
};

/* Notes where a wanted member is. */
static bool collect(void *context, struct json_span name, enum json_type type,
                    struct json_span span)
{
    struct collection *collection = context;
    for (size_t i = 0; i < collection->body->count; i++) {
        struct value *value = &collection->body->values[i];
        if (!json_decodes_to(name, value->member->name)) {
            continue;
        }
        if (value->seen) {
            (void)refuse(collection->refusal, 400, "%s is given twice", value->member->name);
            return false;
        }
        if (!fits(value->member->kind, type, span)) {
            (void)refuse(collection->refusal, 400, "%s must be %s", value->member->name,
                         wanted_type(value->member->kind));
            return false;
        }
        value->seen = true;
        value->type = type;
        value->span = span;
        return true;
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

static int scan_body(struct json_body *body, unsigned flags, struct refusal *refusal)
{
    size_t length = (size_t)spool_size(body->spool);
    const char *text = spool_view(body->spool);
    if (text == NULL) {
        return refuse_unkept(refusal);
    }
    if (is_wide(text, length)) {
        return refuse(refusal, 400, "Invalid JSON at byte 0: UTF-16 or UTF-32, send it as UTF-8");
    }
    size_t mark = mark_length(text, length);
    text += mark;
    length -= mark;
    if (length == 0 && (flags & JSON_MAY_BE_EMPTY) != 0) {
        return 0;
    }
    struct collection collection = {body, refusal};
    struct json_scan_error error;
    int scanned = json_scan_object(text, length, collect, &collection, &error);
    spool_relax_view(body->spool);
    if (scanned < 0) {
        return refuse(refusal, 400, "Invalid JSON at byte %zu: %s", mark + error.offset,
                      error.reason);
    }
    return scanned == 0 ? 0 : -1;
}

/* ---- taking the members out ---- */

/* The decoded string, NUL-terminated (owned by the caller; NULL when memory is out). */
static char *decode(struct json_span span, size_t *length)
{
    size_t room = span.length + 4; /* decoding never makes a string longer */
    char *text = malloc(room + 1);
    if (text != NULL) {
        *length = json_decode(&span, text, room);
        text[*length] = '\0';
    }
    return text;
}

static int take_text(struct value *value, struct refusal *refusal)
{
    const char *name = value->member->name;
    if (value->span.length > TEXT_MAX) {
        return refuse(refusal, 413, "%s is longer than %d MiB", name, TEXT_MAX >> 20);
    }
    if (json_has_lone_surrogate(value->span)) {
        return refuse(refusal, 400, "%s contains a lone surrogate", name);
    }
    size_t length;
    cleanup_free char *text = decode(value->span, &length);
    if (text == NULL) {
        return refuse(refusal, 500, "Out of memory");
    }
    if (strlen(text) != length) {
        return refuse(refusal, 400, "%s contains a NUL character", name);
    }
    value->text = steal_pointer(text);
    return 0;
}

static int take_environment(struct value *value, struct refusal *refusal)
{
    const char *name = value->member->name;
    char fault[JSON_ENVIRONMENT_FAULT_SIZE];
    if (value->span.length > ENV_MAX) {
        return refuse(refusal, 413, "%s is longer than %d MiB", name, ENV_MAX >> 20);
    }
    int taken = json_environment_take(&value->environment, value->span, fault);
    if (taken < 0) {
        return refuse(refusal, 500, "Out of memory");
    }
    return taken == 0 ? 0 : refuse(refusal, 400, "%s: %s", name, fault);
}

/* Whether a member counts as given. */
static bool is_given(const struct value *value)
{
    return value->seen && value->type != JSON_TYPE_NULL &&
           (value->span.length > 0 || value->member->kind == JSON_CONTENT ||
            value->member->may_be_empty);
}

static int take_value(struct value *value, struct refusal *refusal)
{
    const struct json_member *member = value->member;
    if (!is_given(value)) {
        value->seen = false;
        if (!member->required) {
            return 0;
        }
        return member->missing != NULL ? refuse(refusal, 400, "%s", member->missing)
                                       : refuse(refusal, 400, "%s is required", member->name);
    }
    switch (member->kind) {
    case JSON_TEXT:
    case JSON_TEXT_OR_INT:
        return take_text(value, refusal);
    case JSON_ENVIRONMENT:
        return take_environment(value, refusal);
    case JSON_CONTENT:
    case JSON_COUNT:
    case JSON_FLAG:
        break;
    }
    return 0;
}

static int take_values(struct json_body *body, struct refusal *refusal)
{
    for (size_t i = 0; i < body->count; i++) {
        if (take_value(&body->values[i], refusal) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- the front ---- */

static struct json_body *new_body(const struct json_member *members, size_t count)
{
    struct json_body *body = calloc(1, sizeof(*body) + count * sizeof(body->values[0]));
    if (body == NULL) {
        return NULL;
    }
    body->count = count;
    for (size_t i = 0; i < count; i++) {
        body->values[i].member = &members[i];
    }
    body->spool = spool_new(spools_directory(), MEMORY_MAX, body_max);
    if (body->spool == NULL) {
        free(body);
        return NULL;
    }
    return body;
}

struct json_body *json_read(struct request *request, const struct json_member *members,
                            size_t count, unsigned flags)
{
    struct refusal refusal = {.status = 500};
    cleanup_(json_freep) struct json_body *body = new_body(members, count);
    if (body == NULL) {
        (void)refuse(&refusal, 500, "Out of memory");
        (void)read_body(request, NULL, &refusal);
    } else if (check_coding(request, &refusal) == 0 &&
               read_body(request, body->spool, &refusal) == 0 &&
               scan_body(body, flags, &refusal) == 0 && take_values(body, &refusal) == 0) {
        return steal_pointer(body);
    }
    if (refusal.status != 0) {
        answer_error_with(request, refusal.status, refusal.headers,
                          (flags & JSON_ANSWER_FAILURE) != 0, "%s", refusal.message);
    }
    return NULL;
}

void json_free(struct json_body *body)
{
    if (body == NULL) {
        return;
    }
    for (size_t i = 0; i < body->count; i++) {
        json_environment_clear(&body->values[i].environment);
        free(body->values[i].text);
    }
    spool_free(body->spool);
    free(body);
}

void json_freep(struct json_body **body)
{
    json_free(*body);
    *body = NULL;
}

static const struct value *find(const struct json_body *body, const char *name)
{
    for (size_t i = 0; i < body->count; i++) {
        if (strcmp(body->values[i].member->name, name) == 0) {
            return &body->values[i];
        }
    }
    return NULL;
}

const char *json_text(const struct json_body *body, const char *name)
{
    const struct value *value = find(body, name);
    return value == NULL ? NULL : value->text;
}

bool json_is_given(const struct json_body *body, const char *name)
{
    const struct value *value = find(body, name);
    return value != NULL && value->seen;
}

uint64_t json_count(const struct json_body *body, const char *name, uint64_t fallback)
{
    const struct value *value = find(body, name);
    return value != NULL && value->seen ? count_of(value->span) : fallback;
}

bool json_flag(const struct json_body *body, const char *name)
{
    return json_is_given(body, name) && find(body, name)->span.data[0] == 't';
}

const char *const *json_environment(const struct json_body *body, const char *name, size_t *count)
{
    const struct value *value = find(body, name);
    *count = value == NULL ? 0 : value->environment.count;
    return value == NULL ? NULL : (const char *const *)value->environment.entries;
}

int json_content(const struct json_body *body, const char *name,
                 int (*sink)(void *context, const char *data, size_t length), void *context)
{
    const struct value *value = find(body, name);
    if (value == NULL || !value->seen) {
        return 0;
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

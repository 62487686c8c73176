/*
 * The JSON front and the exact string reader, with a request body as input. Jansson, which is
 * strict, too, must agree on what is JSON and on every string in it; what json_read() takes out of
 * a body must be what Jansson finds there.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <jansson.h>

#include "common/cleanup.h"
#include "common/json_text.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/json/json_scan.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_request.h"

static int open_early(const struct json_body *body)
{
    assert(json_text(body, "cmd") != NULL);
    return memfd_create("content", MFD_CLOEXEC);
}

static const struct json_member members[] = {
    {.name = "cmd", .kind = JSON_TEXT, .required = true, .missing = "Command is required"},
    {.name = "env", .kind = JSON_ENVIRONMENT},
    {.name = "port", .kind = JSON_TEXT_OR_INT},
    {.name = "content", .kind = JSON_CONTENT, .early = open_early},
    {.name = "timeout_ms", .kind = JSON_COUNT},
    {.name = "stdin", .kind = JSON_FLAG},
    {.name = "list", .kind = JSON_LIST},
    {.name = "texts", .kind = JSON_TEXTS},
    {.name = "pty", .kind = JSON_NESTED},
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

static void free_json(json_t **json)
{
    json_decref(*json);
}
#define cleanup_json cleanup_(free_json)

/* ---- strings ---- */

struct decoded {
    char *data; /* owned */
    size_t length;
};

static struct decoded decode(struct json_span string, size_t room)
{
    struct decoded decoded = {.data = malloc(string.length + room + 1)};
    assert(decoded.data != NULL);
    while (string.length > 0) {
        size_t length = json_decode(&string, decoded.data + decoded.length, room);
        assert(length > 0 && length <= room);
        decoded.length += length;
    }
    decoded.data[decoded.length] = '\0';
    return decoded;
}

static bool take_any(void *context, struct json_span name, enum json_type type,
                     struct json_span value)
{
    (void)name;
    assert(type == JSON_TYPE_STRING);
    *(struct json_span *)context = value;
    return true;
}

/* Escaping gives a string that is decoded to the same bytes. */
static void check_escape(const struct decoded *decoded)
{
    size_t room = JSON_ESCAPED_MAX(decoded->length) + sizeof("{\"\":\"\"}");
    cleanup_free char *text = malloc(room);
    assert(text != NULL);
    char *out = mempcpy(text, "{\"\":\"", 5);
    size_t consumed;
    struct json_span again;
    struct json_scan_error error;
    out += json_escape(out, decoded->data, decoded->length, true, &consumed);
    assert(consumed == decoded->length);
    out = mempcpy(out, "\"}", 2);
    assert(json_scan_object(text, (size_t)(out - text), take_any, &again, &error) == 0);
    struct decoded same = decode(again, 64);
    assert(same.length == decoded->length && memcmp(same.data, decoded->data, same.length) == 0);
    free(same.data);
}

/* The decoding is the same in pieces of any size. */
static struct decoded check_string(struct json_span string)
{
    struct decoded decoded = decode(string, string.length + 4);
    struct decoded pieces = decode(string, 4 + string.length % 13);
    assert(pieces.length == decoded.length &&
           memcmp(pieces.data, decoded.data, pieces.length) == 0);
    assert(json_decodes_to(string, decoded.data) == (strlen(decoded.data) == decoded.length));
    free(pieces.data);
    check_escape(&decoded);
    return decoded;
}

/* ---- the scanner ---- */

/* What Jansson has found. Of members with one name it keeps the last. */
struct strict {
    json_t *object;   /* NULL if it is none */
    json_t *repeated; /* the names that come again */
    json_t *seen;     /* the names so far */
};

static bool note_name(void *context, struct json_span name, enum json_type type,
                      struct json_span value)
{
    (void)type;
    (void)value;
    struct strict *strict = context;
    struct decoded key = decode(name, 64);
    if (json_object_getn(strict->seen, key.data, key.length) != NULL) {
        (void)json_object_setn_new(strict->repeated, key.data, key.length, json_true());
    }
    (void)json_object_setn_new(strict->seen, key.data, key.length, json_true());
    free(key.data);
    return true;
}

static bool check_member(void *context, struct json_span name, enum json_type type,
                         struct json_span value)
{
    struct strict *strict = context;
    struct decoded key = check_string(name);
    struct decoded text = {0};
    if (type == JSON_TYPE_STRING) {
        text = check_string(value);
    }
    json_t *member = json_object_getn(strict->object, key.data, key.length);
    assert(strict->object == NULL || member != NULL);
    if (member != NULL && json_object_getn(strict->repeated, key.data, key.length) == NULL) {
        assert((type == JSON_TYPE_STRING) == json_is_string(member));
        assert(
            json_string_length(member) == text.length &&
            (text.length == 0 || memcmp(json_string_value(member), text.data, text.length) == 0));
    }
    free(key.data);
    free(text.data);
    return true;
}

/* Half of a surrogate pair is taken here, and by Jansson refused. The position of an escape is not
 * known without reading all strings, so a text that could hold one is taken for one that does. */
static bool has_half_a_pair(const char *text, size_t length)
{
    return memmem(text, length, "\\ud", 3) != NULL || memmem(text, length, "\\uD", 3) != NULL;
}

/* What Jansson cannot represent is no error of ours. */
static bool is_beyond_jansson(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

static void check_scanner(const char *text, size_t length, json_t *value, const json_error_t *why)
{
    struct json_scan_error error = {.offset = SIZE_MAX};
    cleanup_json json_t *repeated = json_object();
    cleanup_json json_t *seen = json_object();
    struct strict strict = {json_is_object(value) ? value : NULL, repeated, seen};
    int scanned = json_scan_object(text, length, note_name, &strict, &error);
    if (scanned < 0) {
        assert(error.offset <= length && error.reason != NULL);
        assert(strict.object == NULL || strcmp(error.reason, "nested too deeply") == 0 ||
               text[error.offset] == '\0'); /* Jansson loses a NUL after a number */
        return;
    }
    assert(scanned == 0);
    assert(strict.object != NULL || is_beyond_jansson(why) || has_half_a_pair(text, length));
    assert(json_scan_object(text, length, check_member, &strict, &error) == 0);
}

/* ---- the front ---- */

static int append(void *context, const char *data, size_t length)
{
    struct decoded *content = context;
    content->data = realloc(content->data, content->length + length + 1);
    assert(content->data != NULL);
    memcpy(content->data + content->length, data, length);
    content->length += length;
    return 0;
}

static void check_content(const struct json_body *body, json_t *object)
{
    json_t *strict = json_object_get(object, "content");
    struct decoded content = {0};
    assert(json_is_given(body, "content") == json_is_string(strict));
    assert(json_content(body, "content", append, &content) == 0);
    assert(content.length == json_string_length(strict) &&
           (content.length == 0 ||
            memcmp(content.data, json_string_value(strict), content.length) == 0));
    free(content.data);
}

static void check_environment(const struct json_body *body, json_t *object)
{
    json_t *strict = json_object_get(object, "env");
    size_t count;
    const char *const *entries = json_environment(body, "env", &count);
    size_t names = json_object_size(strict);
    for (size_t i = count; i-- > 0;) { /* of several entries with one name both take the last */
        const char *equals = strchr(entries[i], '=');
        assert(equals != NULL && equals > entries[i]);
        size_t length = (size_t)(equals - entries[i]);
        json_t *value = json_object_getn(strict, entries[i], length);
        if (value != NULL) {
            assert(strcmp(json_is_null(value) ? "" : json_string_value(value), equals + 1) == 0);
            assert(json_object_deln(strict, entries[i], length) == 0);
            names--;
        }
    }
    assert(names == 0);
}

static void check_text(const struct json_body *body, json_t *object, const char *name)
{
    const char *text = json_text(body, name);
    json_t *strict = json_object_get(object, name);
    if (json_is_integer(strict)) {
        assert(text != NULL && strtoll(text, NULL, 10) == json_integer_value(strict));
    } else if (json_string_length(strict) == 0) {
        assert(text == NULL);
    } else {
        assert(strcmp(text, json_string_value(strict)) == 0);
    }
}

struct elements {
    json_t *array;
    size_t count;
};

static bool check_element(void *context, struct json_span name, enum json_type type,
                          struct json_span value)
{
    struct elements *elements = context;
    json_t *element = json_array_get(elements->array, elements->count++);
    assert(name.length == 0 && element != NULL && value.data != NULL);
    assert((type == JSON_TYPE_STRING) == json_is_string(element));
    assert((type == JSON_TYPE_OBJECT) == json_is_object(element));
    return true;
}

static void check_array(const struct json_body *body, json_t *object)
{
    struct json_scan_error error;
    struct json_span list = json_list(body, "list");
    struct elements elements = {json_object_get(object, "list"), 0};
    assert((list.length > 0) == json_is_array(elements.array));
    if (list.length > 0) {
        assert(json_scan_array(list.data, list.length, check_element, &elements, &error) == 0);
        assert(elements.count == json_array_size(elements.array));
    }
}

static void check_texts(const struct json_body *body, json_t *object)
{
    size_t count;
    json_t *strict = json_object_get(object, "texts");
    const char *const *texts = json_texts(body, "texts", &count);
    assert(count == json_array_size(strict));
    for (size_t i = 0; i < count; i++) {
        assert(strcmp(texts[i], json_string_value(json_array_get(strict, i))) == 0);
    }
}

static void check_nested(const struct json_body *body, json_t *object)
{
    json_t *strict = json_object_get(object, "pty");
    struct json_span span = json_nested(body, "pty");
    assert((span.length > 0) == json_is_object(strict));
    if (span.length > 0) {
        struct json_body *nested = json_item(body, span, members, MEMBERS);
        assert(nested != NULL);
        assert(nested->refusal.status != 0 || json_is_string(json_object_get(strict, "cmd")));
        json_free(nested);
    }
}

static void check_accepted(const struct json_body *body, json_t *object)
{
    check_text(body, object, "cmd");
    check_text(body, object, "port");
    check_environment(body, object);
    check_content(body, object);
    check_array(body, object);
    check_texts(body, object);
    check_nested(body, object);
    json_t *count = json_object_get(object, "timeout_ms");
    assert(json_count(body, "timeout_ms", 7) ==
           (json_is_integer(count) ? (uint64_t)json_integer_value(count) : 7));
    assert(json_flag(body, "stdin") == json_is_true(json_object_get(object, "stdin")));
}

static void check_refusal(const struct request *request)
{
    assert(request->status == 400 || request->status == 413);
    cleanup_json json_t *answer = json_loadb(request->answer, request->answer_length, 0, NULL);
    assert(json_string_length(json_object_get(answer, "error")) > 0);
}

/* The refusal, which the caller frees; NULL: the body was accepted. */
static char *check_front(const char *text, size_t length, size_t in_memory, size_t piece_max,
                         json_t *object)
{
    json_init(0, in_memory);
    struct request request = fake_request(text, length);
    request.piece_max = piece_max;
    request.param = length % 8 > 3 ? "handling=strict" : NULL;
    struct json_body *body = json_read(&request, members, MEMBERS, length % 4);
    if (body == NULL) {
        check_refusal(&request);
    } else if (object != NULL) {
        assert(request.status == 0);
        check_accepted(body, object);
    }
    json_free(body);
    return request.answer;
}

/* However the body comes, and whether its content goes to a file, what is wrong with it is the
 * same. */
static void check_fronts(const char *text, size_t length, json_t *object)
{
    cleanup_free char *refusal = check_front(text, length, JSON_IN_MEMORY, 0, object);
    for (size_t piece_max = 1; piece_max <= 7; piece_max += 3) {
        size_t in_memory = length * piece_max / 8;
        cleanup_free char *same = check_front(text, length, in_memory, piece_max, object);
        assert(refusal == NULL ? same == NULL : same != NULL && strcmp(refusal, same) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    json_error_t error;
    cleanup_json json_t *object = json_loadb(text, size, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    spools_init(scratch_directory());
    check_scanner(text, size, object, &error);
    check_fronts(text, size, object);
    return 0;
}

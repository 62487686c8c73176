/*
 * The strict JSON front: the grammar, the members, and bodies that are large, deep or hostile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/json/json_scan.h"
#include "tests/unit/fake_request.h"

#define BODY_MAX (100 << 20)

static const struct json_member members[] = {
    {.name = "cmd", .kind = JSON_TEXT, .required = true, .missing = "Command is required"},
    {.name = "cwd", .kind = JSON_TEXT},
    {.name = "env", .kind = JSON_ENVIRONMENT},
    {.name = "port", .kind = JSON_TEXT_OR_INT},
    {.name = "content", .kind = JSON_CONTENT},
    {.name = "count", .kind = JSON_COUNT},
    {.name = "flag", .kind = JSON_FLAG},
    {.name = "list", .kind = JSON_LIST},
    {.name = "texts", .kind = JSON_TEXTS},
    {.name = "nested", .kind = JSON_NESTED},
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

static int spools;

static int init(void **state)
{
    (void)state;
    spools = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    spools_init(spools);
    json_init(BODY_MAX, JSON_IN_MEMORY);
    return spools < 0;
}

static struct json_body *read_bytes(const char *body, size_t length, struct request *request)
{
    *request = fake_request(body, length);
    return json_read(request, members, MEMBERS, 0);
}

/* The members of a body that must be accepted; the caller frees it. */
static struct json_body *accept_text(const char *body)
{
    struct request request;
    struct json_body *json = read_bytes(body, strlen(body), &request);
    if (json == NULL) {
        print_error("refused: %s\n  %s\n", body, request.answer);
    }
    assert_non_null(json);
    assert_int_equal(request.status, 0);
    return json;
}

static void assert_refused_bytes(const char *body, size_t length, int status, const char *words)
{
    struct request request;
    struct json_body *json = read_bytes(body, length, &request);
    if (json != NULL) {
        print_error("accepted: %s\n", body);
    }
    assert_null(json);
    assert_int_equal(request.status, status);
    if (strstr(request.answer, words) == NULL) {
        print_error("no \"%s\" in %s\n", words, request.answer);
    }
    assert_non_null(strstr(request.answer, words));
    assert_ptr_equal(strstr(request.answer, "{\"error\":"), request.answer);
    fake_request_clear(&request);
}

static void assert_refused(const char *body, const char *words)
{
    assert_refused_bytes(body, strlen(body), 400, words);
}

static void assert_value(const char *value, bool valid)
{
    char body[256];
    (void)snprintf(body, sizeof(body), "{\"cmd\":\"x\", \"unknown\":%s}", value);
    if (valid) {
        json_free(accept_text(body));
    } else {
        assert_refused(body, "Invalid JSON at byte");
    }
}

static const char *const valid_values[] = {
    "0",
    "-0",
    "1",
    "10.25",
    "-1.5e10",
    "1E+2",
    "1e-2",
    "0.0",
    "0e1",
    "true",
    "false",
    "null",
    "[]",
    "[ ]",
    "{}",
    "{ }",
    "[1,2 , 3]",
    "[[],[[]],{}]",
    "{\"a\":{\"b\":[{\"c\":null}]}}",
    "{\"a\":1,\"a\":2}",
    "\"\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"",
    "\"\\ud83d\\uDE00\"",
    "\"\\uD83D\"",
    "\"\\uDE00\\uD83D\"",
    "\"\\uD83D\\n\"",
    "\"\\u0000\"",
    "\"\\uFFFD\"",
    "\"\\uFFFF\"",
    "\"/\x7f\u00e4\u20ac\U0001F600\"",
    "\t[\r\n1 ]\n",
};

static const char *const invalid_values[] = {
    "",
    "01",
    "-",
    "-a",
    "1.",
    ".5",
    "1.e1",
    "1e",
    "1e+",
    "+1",
    "0x10",
    "1 2",
    "NaN",
    "Infinity",
    "tru",
    "True",
    "nul",
    "nulll",
    "[",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "{",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{,}",
    "{a:1}",
    "{'a':1}",
    "{\"a\" 1}",
    "{\"a\":1 \"b\":2}",
    "{1:2}",
    "{\"a\":1]",
    "]",
    "'x'",
    "\"",
    "\"abc",
    "\"\\\"",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u123g\"",
    "\"\\u 123\"",
    "\"\n\"",
    "\"\t\"",
    "\"\x01\"",
    "\"\xff\"",
    "\"\xc0\xaf\"",
    "\"\xed\xa0\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xe2\x82\"",
    "/* */ 1",
    "1 // x",
    "\v1",
    "\u00a01",
    "\"\\",
    "\"\\u",
    "\"\\ud83d\\",
    "\"\\ud83d\\u",
};

static void follows_the_grammar(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(valid_values) / sizeof(valid_values[0]); i++) {
        assert_value(valid_values[i], true);
    }
    for (size_t i = 0; i < sizeof(invalid_values) / sizeof(invalid_values[0]); i++) {
        assert_value(invalid_values[i], false);
    }
}

static void wants_one_object_alone(void **state)
{
    (void)state;
    json_free(accept_text(" \t\r\n{\"cmd\":\"x\"}\n "));
    assert_refused("", "an object is expected");
    assert_refused("  ", "an object is expected");
    assert_refused("[1]", "an object is expected");
    assert_refused("\"x\"", "an object is expected");
    assert_refused("null", "an object is expected");
    assert_refused("{\"cmd\":\"x\"}{}", "Invalid JSON at byte 11: something follows");
    assert_refused("{\"cmd\":\"x\"} x", "at byte 12");
    assert_refused_bytes("{\"cmd\":\"x\"}\0", 12, 400, "at byte 11");
    assert_refused_bytes("{\"cmd\":\"x\0y\"}", 13, 400, "control character");
    assert_refused("{\"cmd\":\"x\",}", "a member name");
    assert_refused("{\"cmd\":\"x\"", "a comma or }");
}

static bool ignore_member(void *context, struct json_span name, enum json_type type,
                          struct json_span value)
{
    (void)context;
    (void)name;
    (void)type;
    (void)value;
    return true;
}

/* Every cut of a valid body is refused, and read no further than it goes (a sanitizer sees to
 * that). */
static void refuses_every_truncation(void **state)
{
    (void)state;
    static const char body[] =
        "{\"cmd\":\"a\\ud83d\\ude00\u20ac\",\"env\":{\"A\":\"b\"},\"port\":8080,"
        "\"x\":[1.5e3,true,null,{\"y\":[]}]}";
    for (size_t length = 0; length < sizeof(body) - 1; length++) {
        char *memory = malloc(length + 1), *cut = memory + 1; /* so that `cut` ends where it does */
        struct json_scan_error error;
        memcpy(cut, body, length);
        assert_int_equal(json_scan_object(cut, length, ignore_member, NULL, &error), -1);
        assert_true(error.offset <= length);
        assert_refused_bytes(cut, length, 400, "Invalid JSON at byte");
        free(memory);
    }
    json_free(accept_text(body));
}

static void takes_the_members_out(void **state)
{
    (void)state;
    struct json_body *json = accept_text(
        "{\"x\":1,\"p\\u006frt\":8080,\"c\\u006d\\u0064\":\"a\\n\\u00e4\\uD83D\\uDE00\","
        "\"cwd\":null,\"env\":\"\"}");
    size_t count = 1;
    assert_string_equal(json_text(json, "cmd"), "a\n\u00e4\U0001F600");
    assert_string_equal(json_text(json, "port"), "8080");
    assert_null(json_text(json, "cwd"));
    (void)json_environment(json, "env", &count);
    assert_int_equal(count, 0);
    json_free(json);
    json = accept_text("{\"cmd\":\"x\",\"cwd\":\"\",\"port\":\"80\",\"CMD\":1,\"env\":null}");
    assert_null(json_text(json, "cwd"));
    assert_string_equal(json_text(json, "port"), "80");
    json_free(json);
}

static void refuses_wrong_members(void **state)
{
    (void)state;
    assert_refused("{}", "Command is required");
    assert_refused("{\"cmd\":\"\"}", "Command is required");
    assert_refused("{\"cmd\":null}", "Command is required");
    assert_refused("{\"cmd\":5}", "cmd must be a string");
    assert_refused("{\"cmd\":[\"x\"]}", "cmd must be a string");
    assert_refused("{\"cmd\":true}", "cmd must be a string");
    assert_refused("{\"cmd\":\"x\",\"cmd\":\"y\"}", "cmd is given twice");
    assert_refused("{\"cmd\":\"x\",\"c\\u006dd\":null}", "cmd is given twice");
    assert_refused("{\"cmd\":\"x\\u0000y\"}", "cmd contains a NUL character");
    assert_refused("{\"cmd\":\"x\",\"cwd\":\"\\u0000\"}", "cwd contains a NUL character");
    assert_refused("{\"cmd\":\"x\",\"port\":80.5}", "port must be");
    assert_refused("{\"cmd\":\"x\",\"port\":-80}", "port must be");
    assert_refused("{\"cmd\":\"x\",\"port\":8e1}", "port must be");
    assert_refused("{\"cmd\":\"x\",\"port\":8", "Invalid JSON");
    assert_refused("{\"cmd\":\"x\",\"content\":{}}", "content must be a string");
    assert_refused("{\"cmd\":\"x\",\"env\":\"A=b\"}", "env must be an object");
    assert_refused("{\"cmd\":\"x\",\"env\":[]}", "env must be an object");
}

static void checks_the_environment(void **state)
{
    (void)state;
    struct json_body *json =
        accept_text("{\"cmd\":\"x\",\"env\":{\"A\":\"1\",\"B\":\"\",\"AB\":\"=\","
                    "\"\\u0041\":\"last\",\"\u00e4\":\"\\n\"}}");
    size_t count = 0;
    const char *const *environment = json_environment(json, "env", &count);
    static const char *const expected[] = {"A=1", "B=", "AB==", "A=last", "\u00e4=\n"};
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(environment[i], expected[i]);
    }
    json_free(json);
    json_free(accept_text("{\"cmd\":\"x\",\"env\":{}}"));
    assert_refused("{\"cmd\":\"x\",\"env\":{\"\":\"1\"}}", "the name is empty");
    assert_refused("{\"cmd\":\"x\",\"env\":{\"A=B\":\"1\"}}",
                   "env: \\\"A=B\\\": the name contains =");
    assert_refused("{\"cmd\":\"x\",\"env\":{\"A\\u0000\":\"1\"}}", "the name contains a NUL");
    assert_refused("{\"cmd\":\"x\",\"env\":{\"A\":\"\\u0000\"}}",
                   "\\\"A\\\": the value contains a NUL");
    assert_refused("{\"cmd\":\"x\",\"env\":{\"A\":1}}", "\\\"A\\\": the value must be a string");
    assert_refused("{\"cmd\":\"x\",\"env\":{\"A\\ud800\":\"1\"}}",
                   "env: \\\"A\ufffd\\\": the name contains a lone surrogate");
    assert_refused("{\"cmd\":\"x\",\"env\":{\"A\":\"\\udfff\"}}",
                   "\\\"A\\\": the value contains a lone surrogate");
    struct json_body *body = accept_text("{\"cmd\":\"x\",\"env\":{\"A\":null}}");
    assert_string_equal(json_environment(body, "env", &count)[0], "A=");
    json_free(body);
    assert_refused("{\"cmd\":\"x\",\"env\":{\"A\":{\"B\":\"c\"}}}", "the value must be a string");
}

static void takes_many_names(void **state)
{
    (void)state;
    enum { NAMES = 5000 };
    char *body = malloc(NAMES * 30 + 100), *at = body;
    at += sprintf(at, "{\"cmd\":\"x\",\"env\":{\"N\":\"\"");
    for (int i = 0; i < NAMES; i++) {
        at += sprintf(at, ",\"N%d\":\"%d\"", i, i);
    }
    (void)sprintf(at, "}}");
    struct json_body *json = accept_text(body);
    size_t count = 0;
    const char *const *environment = json_environment(json, "env", &count);
    assert_int_equal(count, NAMES + 1);
    for (int i = 0; i < NAMES; i++) {
        char expected[40];
        (void)snprintf(expected, sizeof(expected), "N%d=%d", i, i);
        assert_string_equal(environment[i + 1], expected);
    }
    json_free(json);
    free(body);
}

static void limits_the_depth(void **state)
{
    (void)state;
    for (int depth = JSON_DEPTH_MAX - 2; depth <= JSON_DEPTH_MAX + 1; depth++) {
        char body[2 * JSON_DEPTH_MAX + 100], *at = body;
        size_t arrays = (size_t)depth - 1;
        at += sprintf(at, "{\"cmd\":\"x\",\"y\":");
        memset(at, '[', arrays);
        memset(at + arrays, ']', arrays);
        memcpy(at + arrays * 2, "}", 2);
        if (depth <= JSON_DEPTH_MAX) {
            json_free(accept_text(body));
        } else {
            assert_refused(body, "nested too deeply");
        }
    }
    char *body = malloc(500001), *at = body;
    for (int i = 0; i < 100000; i++) {
        at = mempcpy(at, "{\"a\":", 5);
    }
    assert_refused_bytes(body, (size_t)(at - body), 400, "nested too deeply");
    free(body);
}

/* A body of `length` bytes: `head`, then `fill` repeated, then `tail`. */
static char *large_body(size_t length, const char *head, const char *fill, const char *tail)
{
    char *body = malloc(length), *at = body;
    assert_non_null(body);
    at = mempcpy(at, head, strlen(head));
    size_t tail_length = strlen(tail), fill_length = strlen(fill);
    char *end = body + length - tail_length;
    while ((size_t)(end - at) >= fill_length) {
        at = mempcpy(at, fill, fill_length);
    }
    memset(at, ' ', (size_t)(end - at)); /* never within an escape */
    memcpy(end, tail, tail_length);
    return body;
}

static void limits_the_size(void **state)
{
    (void)state;
    char *spaces = large_body(64 << 20, "", " ", "");
    assert_refused_bytes(spaces, 64 << 20, 400, "an object is expected");
    free(spaces);
    char *body = large_body(BODY_MAX + 1, "{\"cmd\":\"x\"}", " ", " ");
    assert_refused_bytes(body, BODY_MAX + 1, 413, "larger than");
    struct request request;
    struct json_body *json = read_bytes(body, BODY_MAX, &request);
    assert_non_null(json);
    json_free(json);
    free(body);
    body = large_body(33 << 20, "{\"cmd\":\"", "x", "\"}");
    assert_refused_bytes(body, 33 << 20, 413, "cmd is longer than");
    free(body);
    body = large_body(5 << 20, "{\"cmd\":\"x\",\"env\":{\"A\":\"", "x", "\"}}");
    assert_refused_bytes(body, 5 << 20, 413, "env is longer than");
    free(body);
}

/* Collects content into memory, and counts the pieces. */
struct sink {
    char *data;
    size_t length, capacity;
    int pieces, stop_after;
};

static int collect_content(void *context, const char *data, size_t length)
{
    struct sink *sink = context;
    assert_true(sink->length + length <= sink->capacity);
    memcpy(sink->data + sink->length, data, length);
    sink->length += length;
    return ++sink->pieces == sink->stop_after ? 5 : 0;
}

static void assert_content(const char *body, size_t length, const char *expected,
                           size_t expected_length)
{
    struct request request;
    struct json_body *json = read_bytes(body, length, &request);
    assert_non_null(json);
    struct sink sink = {.data = malloc(length), .capacity = length};
    assert_int_equal(json_content(json, "content", collect_content, &sink), 0);
    assert_int_equal(sink.length, expected_length);
    assert_memory_equal(sink.data, expected, expected_length);
    free(sink.data);
    json_free(json);
}

static void decodes_content(void **state)
{
    (void)state;
    static const struct {
        const char *body, *content;
        size_t length;
    } rows[] = {
        {"{\"cmd\":\"x\",\"content\":\"\"}", "", 0},
        {"{\"cmd\":\"x\",\"content\":null}", "", 0},
        {"{\"cmd\":\"x\"}", "", 0},
        {"{\"cmd\":\"x\",\"content\":\"\\u0000a\\u0000\"}", "\0a\0", 3},
        {"{\"cmd\":\"x\",\"content\":\"\\\\n\\/\u20ac\\u20aC\\u00E4\\ud83d\\ude00\"}",
         "\\n/\u20ac\u20ac\u00e4\U0001F600", 15},
        {"{\"cmd\":\"x\",\"content\":\"\\ud800\\ud83d\\ude00\\udc00\\ud8ff\"}",
         "\ufffd\U0001F600\ufffd\ufffd", 13},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_content(rows[i].body, strlen(rows[i].body), rows[i].content, rows[i].length);
    }
}

/* Escapes at every offset to the pieces in which content is decoded, through the file of the spool.
 */
static void decodes_large_content(void **state)
{
    (void)state;
    static const char *const fills[] = {"\\n", "\\ud83d\\ude00", "\\ud83dx", "a\\u20ac",
                                        "abcdefg\u00e4"};
    static const char *const decoded[] = {"\n", "\U0001F600", "\ufffdx", "a\u20ac",
                                          "abcdefg\u00e4"};
    for (size_t i = 0; i < sizeof(fills) / sizeof(fills[0]); i++) {
        size_t length = (4 << 20) + 321;
        char *body = large_body(length, "{\"cmd\":\"x\",\"content\":\"", fills[i], "\"}");
        size_t inside = length - strlen("{\"cmd\":\"x\",\"content\":\"") - 2;
        size_t times = inside / strlen(fills[i]), rest = inside % strlen(fills[i]);
        char *expected = malloc(length), *at = expected;
        for (size_t k = 0; k < times; k++) {
            at = mempcpy(at, decoded[i], strlen(decoded[i]));
        }
        memset(at, ' ', rest);
        assert_content(body, length, expected, (size_t)(at + rest - expected));
        free(expected);
        free(body);
    }
}

static void stops_decoding_when_told(void **state)
{
    (void)state;
    char *body = large_body(1 << 20, "{\"cmd\":\"x\",\"content\":\"", "x", "\"}");
    struct request request;
    struct json_body *json = read_bytes(body, 1 << 20, &request);
    struct sink sink = {.data = malloc(1 << 20), .capacity = 1 << 20, .stop_after = 2};
    assert_int_equal(json_content(json, "content", collect_content, &sink), 5);
    assert_int_equal(sink.pieces, 2);
    free(sink.data);
    json_free(json);
    free(body);
}

static void answers_nobody_when_the_client_left(void **state)
{
    (void)state;
    struct request request = fake_request("{\"cmd\":", 7);
    request.cut = true;
    assert_null(json_read(&request, members, MEMBERS, 0));
    assert_int_equal(request.status, 0);
}

static void heeds_its_flags(void **state)
{
    (void)state;
    struct request request = fake_request("", 0);
    struct json_body *json = json_read(&request, NULL, 0, JSON_MAY_BE_EMPTY);
    assert_non_null(json);
    json_free(json);
    request = fake_request("{\"port\":1}", 10);
    json = json_read(&request, NULL, 0, JSON_MAY_BE_EMPTY);
    assert_non_null(json);
    json_free(json);
    request = fake_request("x", 1);
    assert_null(json_read(&request, NULL, 0, JSON_MAY_BE_EMPTY | JSON_ANSWER_FAILURE));
    assert_int_equal(request.status, 400);
    assert_ptr_equal(strstr(request.answer, "{\"success\":false,\"error\":\"Invalid"),
                     request.answer);
    fake_request_clear(&request);
}

/* A body that comes in pieces of one byte. */
static void reads_in_pieces(void **state)
{
    (void)state;
    static const char body[] = "{\"cmd\":\"\u20ac\\u20ac\"}";
    struct request request = fake_request(body, sizeof(body) - 1);
    request.piece_max = 1;
    struct json_body *json = json_read(&request, members, MEMBERS, 0);
    assert_non_null(json);
    assert_string_equal(json_text(json, "cmd"), "\u20ac\u20ac");
    json_free(json);
}

/* Any bytes: refused or accepted, but never read beyond, and decodable when accepted. */
static void survives_mutations(void **state)
{
    (void)state;
    static const char seed[] =
        "{\"cmd\":\"a\\ud83d\\ude00\\u20ac\u20ac\",\"env\":{\"A\":\"b\\n\"},\"port\":8080,"
        "\"content\":\"\\\"\",\"x\":[1.5e3,true,null,{\"y\":[]}]}";
    static const char spice[] = "\"\\{}[]:,u0d8e.-+ \n\xff\xe2\x82\xac";
    srand(20260102);
    for (int round = 0; round < 50000; round++) {
        size_t length = sizeof(seed) - 1;
        char *body = malloc(length);
        memcpy(body, seed, length);
        for (int changes = 1 + rand() % 3; changes > 0; changes--) {
            body[(size_t)rand() % length] = spice[(size_t)rand() % (sizeof(spice) - 1)];
        }
        struct request request;
        struct json_body *json = read_bytes(body, length, &request);
        if (json != NULL) {
            struct sink sink = {.data = malloc(length), .capacity = length};
            assert_int_equal(json_content(json, "content", collect_content, &sink), 0);
            free(sink.data);
            json_free(json);
        } else {
            assert_int_equal(request.status, 400);
        }
        fake_request_clear(&request);
        free(body);
    }
}

static void knows_byte_order_marks(void **state)
{
    (void)state;
    struct json_body *json = accept_text("\xef\xbb\xbf{\"cmd\":\"\xef\xbb\xbfx\"}");
    assert_string_equal(json_text(json, "cmd"), "\xef\xbb\xbfx");
    json_free(json);
    assert_refused("\xef\xbb\xbf\xef\xbb\xbf{}", "Invalid JSON at byte 3");
    assert_refused("\xef\xbb\xbf", "Invalid JSON at byte 3");
    assert_refused_bytes("\xff\xfe{\0}\0", 6, 400, "UTF-16");
    assert_refused_bytes("\xfe\xff\0{\0}", 6, 400, "UTF-16");
    assert_refused_bytes("\xff\xfe\0\0{\0\0\0", 8, 400, "UTF-32");
    assert_refused_bytes("\0\0\xfe\xff\0\0\0{", 8, 400, "UTF-32");
    assert_refused_bytes("{\0}\0", 4, 400, "UTF-16");
    assert_refused_bytes("\0{\0}", 4, 400, "UTF-16");
}

/* The body is read to its end, whatever it is. */
static void refuses_content_codings(void **state)
{
    (void)state;
    static const char body[] = "{\"cmd\":\"x\"}";
    static const char *const codings[] = {"gzip", "identity,br", "identit", "identityx", ",x"};
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
        struct request request = fake_request(body, strlen(body));
        request.content_encoding = codings[i];
        assert_null(json_read(&request, members, MEMBERS, 0));
        assert_int_equal(request.status, 415);
        assert_non_null(strstr(request.answer, codings[i]));
        assert_int_equal(request.body_read, strlen(body));
        fake_request_clear(&request);
    }
    struct request request = fake_request(body, strlen(body));
    request.content_encoding = "gzip";
    request.cut = true;
    assert_null(json_read(&request, members, MEMBERS, 0));
    assert_int_equal(request.status, 0);
    static const char *const none[] = {"", "identity", "IDENTITY", "identity, identity", " , "};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        request = fake_request(body, strlen(body));
        request.content_encoding = none[i];
        struct json_body *json = json_read(&request, members, MEMBERS, 0);
        assert_non_null(json);
        json_free(json);
    }
}

static void takes_counts_and_flags(void **state)
{
    (void)state;
    struct json_body *json =
        accept_text("{\"cmd\":\"x\",\"count\":9007199254740991,\"flag\":true}");
    assert_true(json_count(json, "count", 5) == JSON_COUNT_MAX);
    assert_true(json_flag(json, "flag"));
    json_free(json);
    json = accept_text("{\"cmd\":\"x\",\"count\":0,\"flag\":false}");
    assert_true(json_count(json, "count", 5) == 0);
    assert_true(json_is_given(json, "flag") && !json_flag(json, "flag"));
    json_free(json);
    static const char *const absent[] = {"{\"cmd\":\"x\"}",
                                         "{\"cmd\":\"x\",\"count\":null,\"flag\":null}",
                                         "{\"cmd\":\"x\",\"count\":\"\",\"flag\":\"\"}"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        json = accept_text(absent[i]);
        assert_true(json_count(json, "count", 5) == 5);
        assert_false(json_flag(json, "flag"));
        assert_false(json_is_given(json, "count") || json_is_given(json, "flag"));
        json_free(json);
    }
    static const char *const bad_counts[] = {"9007199254740992",
                                             "99999999999999999999999",
                                             "-1",
                                             "1.0",
                                             "1e3",
                                             "\"1\"",
                                             "true",
                                             "[1]",
                                             "{}"};
    for (size_t i = 0; i < sizeof(bad_counts) / sizeof(bad_counts[0]); i++) {
        char body[100];
        (void)snprintf(body, sizeof(body), "{\"cmd\":\"x\",\"count\":%s}", bad_counts[i]);
        assert_refused(body, "count must be a whole number");
    }
    static const char *const bad_flags[] = {"1", "0", "\"true\"", "[]", "{}"};
    for (size_t i = 0; i < sizeof(bad_flags) / sizeof(bad_flags[0]); i++) {
        char body[100];
        (void)snprintf(body, sizeof(body), "{\"cmd\":\"x\",\"flag\":%s}", bad_flags[i]);
        assert_refused(body, "flag must be true or false");
    }
}

struct elements {
    char text[100]; /* all, with a space behind each */
    unsigned most;
};

static bool take_element(void *context, struct json_span name, enum json_type type,
                         struct json_span value)
{
    struct elements *elements = context;
    size_t used = strlen(elements->text);
    assert_int_equal(name.length, 0);
    (void)snprintf(elements->text + used, sizeof(elements->text) - used, "%d:%.*s ", (int)type,
                   (int)value.length, value.data);
    return --elements->most > 0;
}

static void takes_arrays(void **state)
{
    (void)state;
    struct json_scan_error error;
    struct elements elements = {.most = 10}, first = {.most = 1};
    struct json_body *json =
        accept_text("{\"cmd\":\"x\",\"list\": [ {\"a\":[1]}, \"b]\" ,[],3,null]}");
    struct json_span list = json_list(json, "list");
    assert_int_equal(json_scan_array(list.data, list.length, take_element, &elements, &error), 0);
    assert_string_equal(elements.text, "2:{\"a\":[1]} 1:b] 3:[] 0:3 5:null ");
    assert_int_equal(json_scan_array(list.data, list.length, take_element, &first, &error), 1);
    json_free(json);
    json = accept_text("{\"cmd\":\"x\",\"list\":[]}");
    list = json_list(json, "list");
    assert_int_equal(json_scan_array(list.data, list.length, take_element, &first, &error), 0);
    assert_true(json_is_given(json, "list"));
    json_free(json);
    json = accept_text("{\"cmd\":\"x\",\"list\":null}");
    assert_int_equal(json_list(json, "list").length, 0);
    json_free(json);
    assert_refused("{\"cmd\":\"x\",\"list\":{}}", "list must be an array");
    assert_refused("{\"cmd\":\"x\",\"list\":[1,]}", "Invalid JSON");
    assert_int_equal(json_scan_array("{}", 2, take_element, &first, &error), -1);
    assert_string_equal(error.reason, "an array is expected");
    assert_int_equal(json_scan_array("[] 1", 4, take_element, &first, &error), -1);
    assert_string_equal(error.reason, "something follows the array");
}

static void takes_nested_members(void **state)
{
    (void)state;
    static const struct json_member inner[] = {
        {.name = "cmd", .kind = JSON_TEXT},
        {.name = "count", .kind = JSON_COUNT},
    };
    struct json_body *json =
        accept_text("{\"cmd\":\"x\",\"nested\": {\"count\":7,\"cmd\":\"\\u00e4\", \"x\":{}} }");
    struct json_body *nested = json_item(json, json_nested(json, "nested"), inner, 2);
    assert_int_equal(nested->refusal.status, 0);
    assert_int_equal(json_count(nested, "count", 0), 7);
    assert_string_equal(json_text(nested, "cmd"), "\xc3\xa4");
    json_free(nested);
    json_free(json);
    json = accept_text("{\"cmd\":\"x\",\"nested\":{\"count\":\"7\"}}");
    nested = json_item(json, json_nested(json, "nested"), inner, 2);
    assert_int_equal(nested->refusal.status, 400);
    json_free(nested);
    json_free(json);
    json = accept_text("{\"cmd\":\"x\",\"nested\":null}");
    assert_false(json_is_given(json, "nested"));
    json_free(json);
    assert_refused("{\"cmd\":\"x\",\"nested\":[]}", "nested must be an object");
}

static void takes_texts(void **state)
{
    (void)state;
    size_t count;
    struct json_body *json = accept_text(
        "{\"cmd\":\"x\",\"texts\": [ \"ls\",\"\" , \"a\\u00e4\\n\",\"\\ud83d\\ude00\"]}");
    const char *const *texts = json_texts(json, "texts", &count);
    assert_int_equal(count, 4);
    assert_string_equal(texts[0], "ls");
    assert_string_equal(texts[1], "");
    assert_string_equal(texts[2], "a\xc3\xa4\n");
    assert_string_equal(texts[3], "\xf0\x9f\x98\x80");
    json_free(json);
    json = accept_text("{\"cmd\":\"x\",\"texts\":[]}");
    (void)json_texts(json, "texts", &count);
    assert_true(count == 0 && json_is_given(json, "texts"));
    json_free(json);
    json = accept_text("{\"cmd\":\"x\",\"texts\":null}");
    (void)json_texts(json, "texts", &count);
    assert_true(count == 0 && !json_is_given(json, "texts"));
    json_free(json);
    assert_refused("{\"cmd\":\"x\",\"texts\":{}}", "texts must be an array of strings");
    assert_refused("{\"cmd\":\"x\",\"texts\":[\"a\",1]}", "texts: every element must be a string");
    assert_refused("{\"cmd\":\"x\",\"texts\":[null]}", "texts: every element must be a string");
    assert_refused("{\"cmd\":\"x\",\"texts\":[\"\\udc00\"]}",
                   "texts: an element contains a lone surrogate");
    assert_refused("{\"cmd\":\"x\",\"texts\":[\"a\\u0000\"]}",
                   "texts: an element contains a NUL character");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_grammar),
        cmocka_unit_test(wants_one_object_alone),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(takes_the_members_out),
        cmocka_unit_test(refuses_wrong_members),
        cmocka_unit_test(knows_byte_order_marks),
        cmocka_unit_test(refuses_content_codings),
        cmocka_unit_test(takes_counts_and_flags),
        cmocka_unit_test(checks_the_environment),
        cmocka_unit_test(takes_arrays),
        cmocka_unit_test(takes_many_names),
        cmocka_unit_test(limits_the_depth),
        cmocka_unit_test(limits_the_size),
        cmocka_unit_test(decodes_content),
        cmocka_unit_test(decodes_large_content),
        cmocka_unit_test(takes_nested_members),
        cmocka_unit_test(takes_texts),
        cmocka_unit_test(stops_decoding_when_told),
        cmocka_unit_test(answers_nobody_when_the_client_left),
        cmocka_unit_test(heeds_its_flags),
        cmocka_unit_test(reads_in_pieces),
        cmocka_unit_test(survives_mutations),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}

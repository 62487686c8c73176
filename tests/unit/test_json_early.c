/*
 * Content that goes to a file while its body arrives: wherever a body is cut, what it gives and
 * what is wrong with it is as when it is kept whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/json/json_scan.h"
#include "tests/unit/fake_request.h"

#define BODY_MAX 400
#define WHOLE    0 /* of a body to keep in memory: then nothing of it is early */

static int spools;
static unsigned opened;        /* files for content so far */
static const char *opens = ""; /* what to open; "": memory */

static int open_early(const struct json_body *body)
{
    assert_string_equal(json_text(body, "path"), "p\u00e4th");
    opened++;
    return *opens != '\0' ? open(opens, O_RDWR | O_CLOEXEC) : memfd_create("content", MFD_CLOEXEC);
}

static const struct json_member members[] = {
    {.name = "path", .kind = JSON_TEXT, .required = true},
    {.name = "env", .kind = JSON_ENVIRONMENT},
    {.name = "content", .kind = JSON_CONTENT, .early = open_early},
    {.name = "flag", .kind = JSON_FLAG},
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

/* What became of a body. */
struct outcome {
    char answer[1024]; /* "" when it was accepted */
    int status;
    bool given, flag;
    char content[BODY_MAX];
    size_t length;
    size_t entries;
};

static int collect(void *context, const char *data, size_t length)
{
    struct outcome *outcome = context;
    assert_true(outcome->length + length <= sizeof(outcome->content));
    memcpy(outcome->content + outcome->length, data, length);
    outcome->length += length;
    return 0;
}

static void read_in(struct outcome *outcome, const char *body, size_t length, size_t in_memory,
                    size_t piece_max)
{
    memset(outcome, 0, sizeof(*outcome));
    json_init(BODY_MAX, in_memory);
    struct request request = fake_request(body, length);
    request.piece_max = piece_max;
    cleanup_(json_freep) struct json_body *json = json_read(&request, members, MEMBERS, 0);
    outcome->status = request.status;
    if (json == NULL) {
        (void)snprintf(outcome->answer, sizeof(outcome->answer), "%s", request.answer);
    } else {
        outcome->given = json_is_given(json, "content");
        outcome->flag = json_flag(json, "flag");
        (void)json_environment(json, "env", &outcome->entries);
        assert_int_equal(json_content(json, "content", collect, outcome), 0);
    }
    fake_request_clear(&request);
}

static bool is_same(const struct outcome *one, const struct outcome *other)
{
    return strcmp(one->answer, other->answer) == 0 && one->status == other->status &&
           one->given == other->given && one->flag == other->flag &&
           one->entries == other->entries && one->length == other->length &&
           memcmp(one->content, other->content, one->length) == 0;
}

/* Reads a body whole, and then cut in every way. How often its content was early. */
static unsigned read_in_every_way(const char *body, size_t length)
{
    static const size_t pieces[] = {1, 2, 3, 5, 7, 12, 13, BODY_MAX + 1};
    struct outcome expected, outcome;
    unsigned before = opened;
    read_in(&expected, body, length, WHOLE, 0);
    assert_int_equal(opened, before);
    for (size_t in_memory = 1; in_memory <= length; in_memory++) {
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            read_in(&outcome, body, length, in_memory, pieces[i]);
            if (!is_same(&outcome, &expected)) {
                print_error("%zu in memory, pieces of %zu: %.*s\n  %s\n  %s\n", in_memory,
                            pieces[i], (int)length, body, expected.answer, outcome.answer);
            }
            assert_true(is_same(&outcome, &expected));
        }
    }
    return opened - before;
}

#define PATH "\"path\":\"p\\u00e4th\","
#define LONG                                                                                       \
    "0123456789\\n\\\\ud83d\\ud83d\\ude00\\uD83D\\ud83d\\ude00\\ude00\u00e4\u20ac\U0001f600\\u000" \
    "0"

static const char *const early[] = {
    "{" PATH "\"content\":\"" LONG "\"}",
    " {\n" PATH "\"x\":{\"content\":\"y\"}, \"env\":{\"A\":\"b\"},\"content\" : \"" LONG
    "\" , \"flag\":true}",
    "\xef\xbb\xbf{" PATH "\"\\u0063ontent\":\"" LONG "\"} ",
    "{" PATH "\"content\":\"" LONG "\\ud83d\"}",
    "{" PATH "\"content\":\"" LONG "\\ud83d\\n\"}",
    "{" PATH "\"content\":\"" LONG "\\ud83d\\ud83d\\ude00\"}",
    /* and then a fault */
    "{" PATH "\"content\":\"" LONG "\",\"path\":\"other\"}",
    "{" PATH "\"content\":\"" LONG "\",\"content\":\"other\"}",
    "{" PATH "\"content\":\"" LONG "\",\"content\":null}",
    "{" PATH "\"content\":\"" LONG "\",\"flag\":1}",
    "{" PATH "\"content\":\"" LONG "\",\"env\":{\"=\":\"\"}}",
    "{" PATH "\"content\":\"" LONG "\",\"x\":[01]}",
    "{" PATH "\"content\":\"" LONG "\",\"x\":\"\xff\"}",
    "{" PATH "\"content\":\"" LONG "\",}",
    "{" PATH "\"content\":\"" LONG "\"}}",
    "{" PATH "\"content\":\"" LONG "\"} \"",
    "{" PATH "\"content\":\"" LONG "\"",
    "{" PATH "\"content\":\"" LONG "\\q" LONG "\"}",
    "{" PATH "\"content\":\"" LONG "\\ud83d\\q" LONG "\"}",
    "{" PATH "\"content\":\"" LONG "\\ud83d\\u00g0" LONG "\"}",
    "{" PATH "\"content\":\"" LONG "\\ud83d\x01" LONG "\"}",
    "{" PATH "\"content\":\"" LONG "\xe2\x82" LONG "\"}",
    "{" PATH "\"content\":\"" LONG "\xed\xa0\x80" LONG "\"}",
    "{" PATH "\"content\":\"" LONG "\n" LONG "\"}",
};

static void gives_the_same_wherever_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
        assert_true(read_in_every_way(early[i], strlen(early[i])) > 100);
    }
}

static void reports_every_truncation(void **state)
{
    (void)state;
    for (size_t length = strlen(early[5]) - 1; length > 0; length--) {
        (void)read_in_every_way(early[5], length);
    }
}

static void keeps_what_it_cannot_let_go(void **state)
{
    (void)state;
    static const char *const kept[] = {
        "{\"content\":\"" LONG "\"," PATH "\"flag\":true}",
        "{\"path\":\"\",\"content\":\"" LONG "\"}",
        "{\"path\":null,\"content\":\"" LONG "\"}",
        "{\"path\":\"\\ud83d\",\"content\":\"" LONG "\"}",
        "{" PATH "\"path\":\"y\",\"content\":\"" LONG "\"}",
        "{" PATH "\"env\":{\"=\":\"\"},\"content\":\"" LONG "\"}",
        "{" PATH "\"content\":{\"content\":\"" LONG "\"}}",
        "{" PATH "\"x\":{\"content\":\"" LONG "\"}}",
        "{" PATH "\"x\":[\"content\",\"" LONG "\"]}",
        "{" PATH "\"contents\":\"" LONG "\"}",
        "{" PATH "\"content\",\"" LONG "\"}",
        "[" PATH "\"content\":\"" LONG "\"}",
        "{" PATH "\"x\":\"\x01\",\"content\":\"" LONG "\"}",
    };
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        assert_int_equal(read_in_every_way(kept[i], strlen(kept[i])), 0);
    }
}

/* The limit counts the bytes of the content, too. */
static void limits_the_size(void **state)
{
    (void)state;
    static const char head[] = "{" PATH "\"content\":\"";
    char body[BODY_MAX + 1];
    struct outcome outcome;
    memset(body, 'x', sizeof(body));
    memcpy(body, head, sizeof(head) - 1);
    for (size_t length = BODY_MAX - 1; length <= sizeof(body); length++) {
        body[length - 2] = '"';
        body[length - 1] = '}';
        assert_true(read_in_every_way(body, length) > 100);
        read_in(&outcome, body, length, 100, 7);
        assert_int_equal(outcome.status, length <= BODY_MAX ? 0 : 413);
        body[length - 2] = 'x';
    }
}

/* The body is read and checked nevertheless. */
static void loses_content_that_cannot_be_written(void **state)
{
    (void)state;
    int failure;
    opens = "/dev/full";
    json_init(BODY_MAX, 60);
    struct request request = fake_request(early[0], strlen(early[0]));
    request.piece_max = 7;
    struct json_body *json = json_read(&request, members, MEMBERS, 0);
    assert_non_null(json);
    assert_int_equal(request.body_read, strlen(early[0]));
    assert_int_equal(json_content_file(json, &failure), -1);
    assert_int_equal(failure, ENOSPC);
    json_free(json);
    request = fake_request(early[13], strlen(early[13]));
    request.piece_max = 7;
    assert_null(json_read(&request, members, MEMBERS, 0));
    assert_int_equal(request.status, 400);
    fake_request_clear(&request);
    opens = "/nowhere/at/all";
    read_in_every_way(early[0], strlen(early[0]));
    opens = "";
}

static void answers_nobody_when_the_client_left(void **state)
{
    (void)state;
    unsigned before = opened;
    json_init(BODY_MAX, 60);
    struct request request = fake_request(early[0], strlen(early[0]) - 10);
    request.piece_max = 7;
    request.cut = true;
    assert_null(json_read(&request, members, MEMBERS, 0));
    assert_int_equal(request.status, 0);
    assert_int_equal(opened, before + 1);
}

/* What is left of a part is no more than the beginning of a character. */
static void takes_as_much_as_it_can(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t part;
    } rows[] = {
        {"", 0},
        {"abc", 3},
        {"ab\"", 2},
        {"\u20ac", 3},
        {"a\xe2\x82", 1},
        {"a\\", 1},
        {"a\\n", 3},
        {"a\\u20a", 1},
        {"a\\u20ac", 7},
        {"a\\ud83d", 1},
        {"a\\ud83d\\", 1},
        {"a\\ud83d\\ude0", 1},
        {"a\\ud83d\\ude00", 13},
        {"a\\ud83d\\ud83d", 7},
        {"a\\ud83db", 8},
        {"a\\ud83d\"", 7},
        {"a\\ud83d\\q2345678", 7},
        {"a\\\\ud83d", 8},
        {"\\ude00", 6},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(json_string_part(rows[i].text, strlen(rows[i].text)), rows[i].part);
    }
}

static int init(void **state)
{
    (void)state;
    spools = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    spools_init(spools);
    return spools < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_same_wherever_it_is_cut),
        cmocka_unit_test(reports_every_truncation),
        cmocka_unit_test(keeps_what_it_cannot_let_go),
        cmocka_unit_test(limits_the_size),
        cmocka_unit_test(loses_content_that_cannot_be_written),
        cmocka_unit_test(answers_nobody_when_the_client_left),
        cmocka_unit_test(takes_as_much_as_it_can),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}

/*
 * Query strings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fcgi-app/http/json.h"
#include "fcgi-app/http/query.h"
#include "tests/unit/fake_request.h"

static const struct json_member members[] = {{.name = "id", .kind = JSON_TEXT},
                                             {.name = "full", .kind = JSON_FLAG},
                                             {.name = "tail", .kind = JSON_TEXT}};
static const struct json_member required[] = {
    {.name = "id", .kind = JSON_TEXT, .required = true, .missing = "Process ID is required"}};

static void assert_value(const char *text, const char *expected)
{
    struct request request = {.query = text};
    struct json_body *query = query_read(&request, members, 3, 0);
    assert_non_null(query);
    assert_int_equal(json_is_given(query, "id"), expected != NULL);
    if (expected == NULL) {
        assert_null(json_text(query, "id"));
    } else {
        assert_string_equal(json_text(query, "id"), expected);
    }
    json_free(query);
}

static void assert_refused(const struct json_member *wanted, size_t count, const char *text,
                           const char *expected)
{
    struct request request = {.query = text};
    assert_null(query_read(&request, wanted, count, 0));
    assert_int_equal(request.status, 400);
    assert_non_null(strstr(request.answer, expected));
    fake_request_clear(&request);
}

static void test_values(void **state)
{
    (void)state;
    assert_value("id=abc", "abc");
    assert_value("a=b&id=abc&c=d", "abc");
    assert_value("id=first&id=second", "first");
    assert_value("&&id=x", "x");
    assert_value("id=a=b", "a=b");
    assert_value("id=", NULL);
    assert_value("id=&id=x", NULL);
    assert_value("id", NULL);
    assert_value("", NULL);
    assert_value("xid=1&idx=2&ID=3", NULL);
}

static void test_decoding(void **state)
{
    (void)state;
    assert_value("id=%41%6a%6A+%2B%26", "Ajj +&");
    assert_value("id=%e2%82%ac", "\xe2\x82\xac");
    assert_value("id=%", "%");
    assert_value("id=%4", "%4");
    assert_value("id=%4&x=1", "%4");
    assert_value("id=%zz%4g", "%zz%4g");
    assert_refused(members, 3, "id=a%00b", "id contains a NUL");
}

static void test_flags(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        bool given, on;
    } cases[] = {{"full=1", true, true},  {"full=true", true, true},    {"full=0", true, false},
                 {"full=", false, false}, {"full=false", true, false},  {"full", false, false},
                 {"id=1", false, false},  {"full=1&full=0", true, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct request request = {.query = cases[i].query};
        struct json_body *query = query_read(&request, members, 3, 0);
        assert_non_null(query);
        assert_int_equal(json_is_given(query, "full"), cases[i].given);
        assert_int_equal(json_flag(query, "full"), cases[i].on);
        json_free(query);
    }
    assert_refused(members, 3, "full=2", "Invalid full: it must be true, false, 1 or 0");
    assert_refused(members, 3, "full=%00", "Invalid full");
}

static void test_requirements(void **state)
{
    (void)state;
    assert_refused(required, 1, "", "Process ID is required");
    assert_refused(required, 1, "id=&id=x", "Process ID is required");
}

/* Each text has its place, however full the query is. */
static void test_many(void **state)
{
    (void)state;
    struct request request = {.query = "tail=10&full=1&id=a"};
    struct json_body *query = query_read(&request, members, 3, 0);
    assert_string_equal(json_text(query, "id"), "a");
    assert_string_equal(json_text(query, "tail"), "10");
    assert_true(json_flag(query, "full"));
    json_free(query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_flags), cmocka_unit_test(test_requirements),
        cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

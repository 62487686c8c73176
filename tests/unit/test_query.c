/*
 * Query strings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fcgi-app/http/query.h"

static void assert_value(const char *query, const char *expected)
{
    char *value;
    assert_int_equal(query_value(query, "id", &value), 0);
    if (expected == NULL) {
        assert_null(value);
    } else {
        assert_non_null(value);
        assert_string_equal(value, expected);
    }
    free(value);
}

static void test_values(void **state)
{
    (void)state;
    assert_value("id=abc", "abc");
    assert_value("a=b&id=abc&c=d", "abc");
    assert_value("id=first&id=second", "first");
    assert_value("&&id=x", "x");
    assert_value("id=a=b", "a=b");
    assert_value("id=", "");
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
    assert_value("id=a%00b", NULL);
}

static void test_presence(void **state)
{
    (void)state;
    assert_true(query_has("a=b&id=x", "id"));
    assert_true(query_has("id=%00", "id")); /* there, but no text */
    assert_false(query_has("id=&id=x", "id"));
    assert_false(query_has("id", "id"));
    assert_false(query_has("", "id"));
    assert_false(query_has("xid=1&idx=2&ID=3", "id"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_decoding),
                                       cmocka_unit_test(test_presence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The filter before libfcgi: what a web server sends passes however it is cut, and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fcgi-app/http/record_filter.h"

#define BEGIN "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"
#define PAIRS "\4\3PATH/xy\0\0\1\200\0\0\2Aab"
#define END   "\1\4\0\1\0\0\0\0"
#define STDIN "\1\5\0\1\0\2\3\0{}xxx\1\5\0\1\0\0\0\0"

struct text {
    const char *data;
    size_t length;
};
#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const struct text whole = TEXT(BEGIN "\1\4\0\1\0\23\5\0" PAIRS "xxxxx" END STDIN);
static const struct text no_parameters = TEXT(BEGIN END "\1\5\0\1\0\0\0\0");

/* Passes the text on in pieces of `size` bytes, as the same connection; true when all has passed.
 */
static bool pass(struct record_filter *filter, const struct text *text, size_t size)
{
    for (size_t at = 0; at < text->length; at += size) {
        size_t left = text->length - at;
        if (!record_filter_pass(filter, (const unsigned char *)text->data + at,
                                left < size ? left : size)) {
            return false;
        }
    }
    return true;
}

static void test_requests_pass_in_any_pieces(void **state)
{
    (void)state;
    for (size_t size = 1; size <= whole.length; size++) {
        struct record_filter filter = {0};
        for (int i = 0; i < 3; i++) {
            assert_true(pass(&filter, &whole, size));
            assert_true(pass(&filter, &no_parameters, size));
        }
    }
}

/* libfcgi would lose it, and go on in its middle. */
static void test_a_request_before_the_answer_is_refused(void **state)
{
    (void)state;
    struct record_filter filter = {0};
    static const struct text two = TEXT(BEGIN END "\1\5\0\1\0\0\0\0\1");
    assert_false(pass(&filter, &two, two.length));
    assert_false(pass(&filter, &whole, whole.length)); /* nor anything after it */
}

static const struct text refused[] = {
    TEXT("\2\1\0\1\0\10\0\0"),                       /* another version */
    TEXT("\1\1\0\0\0\10\0\0"),                       /* id 0 */
    TEXT("\1\11\0\0\0\20\0\0"),                      /* FCGI_GET_VALUES */
    TEXT("\1\1\0\1\0\7\0\0"),                        /* too short */
    TEXT("\1\1\0\1\0\10\1\0"),                       /* padded */
    TEXT("\1\1\0\1\0\10\0\0\0\2"),                   /* an authorizer */
    TEXT("\1\1\0\1\0\10\0\0\1"),                     /* role 257 */
    TEXT("\1\4\0\1\0\10\0\0"),                       /* parameters first */
    TEXT(BEGIN "\1\1\0\1\0\10\0\0"),                 /* again */
    TEXT(BEGIN "\1\4\0\2\0\0\0\0"),                  /* another's */
    TEXT(BEGIN "\1\5\0\1\0\0\0\0"),                  /* a body before the end of parameters */
    TEXT(BEGIN "\1\11\0\0\0\1\0\0"),                 /* a management record between */
    TEXT(BEGIN "\1\2\0\1\0\0\0\0"),                  /* FCGI_ABORT_REQUEST */
    TEXT(BEGIN "\1\4\0\1\0\0\1\0"),                  /* a padded end */
    TEXT(BEGIN "\1\4\0\1\0\1\0\0\1" END),            /* a length alone */
    TEXT(BEGIN "\1\4\0\1\0\3\0\0\1\1A" END),         /* a value is missing */
    TEXT(BEGIN "\1\4\0\1\0\2\0\0\200\0" END),        /* half a length */
    TEXT(BEGIN "\1\4\0\1\0\10\0\0\377\377\377\377"), /* 2 GiB */
    TEXT(BEGIN "\1\4\0\1\0\5\0\0\1\200\20\0\0"),     /* 1 MiB and a byte */
    TEXT(BEGIN END "\1\4\0\1\0\0\0\0"),              /* parameters after their end */
    TEXT(BEGIN END "\1\10\0\1\0\0\0\0"),             /* FCGI_DATA */
};

static void test_everything_else_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        for (size_t size = 1; size <= refused[i].length; size++) {
            struct record_filter filter = {0};
            if (pass(&filter, &refused[i], size)) {
                print_error("number %zu passes\n", i);
                fail();
            }
            assert_false(pass(&filter, &whole, whole.length));
        }
    }
}

/* Not until the last byte is it wrong. */
static void test_what_is_not_wrong_yet_passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct record_filter filter = {0};
        struct text begin = {refused[i].data, refused[i].length - 1};
        assert_true(pass(&filter, &begin, 1));
    }
}

/* Any number of records, but no more parameters than anybody sends. */
static void test_endless_parameters_are_refused(void **state)
{
    (void)state;
    enum { CONTENT = 65532 }; /* a name of 65,527 bytes without a value, and their two lengths */
    static const struct text begin = TEXT(BEGIN);
    static unsigned char record[RECORD_HEADER_SIZE + CONTENT] =
        "\1\4\0\1\377\374\0\0\200\0\377\367";
    struct record_filter filter = {0};
    int passed = 0;
    assert_true(pass(&filter, &begin, begin.length));
    while (passed < 100 && record_filter_pass(&filter, record, sizeof(record))) {
        passed++;
    }
    assert_int_equal(passed, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_pass_in_any_pieces),
        cmocka_unit_test(test_a_request_before_the_answer_is_refused),
        cmocka_unit_test(test_everything_else_is_refused),
        cmocka_unit_test(test_what_is_not_wrong_yet_passes),
        cmocka_unit_test(test_endless_parameters_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

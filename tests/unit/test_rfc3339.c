/*
 * Times as text: the form, and times that the format does not have, as files may.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/rfc3339.h"

static void assert_text(int64_t seconds, const char *wanted)
{
    char text[RFC3339_SIZE];
    assert_string_equal(rfc3339_format(seconds, 7, text), wanted);
}

static void has_four_digits_of_a_year(void **state)
{
    (void)state;
    assert_text(0, "1970-01-01T00:00:00.000000007Z");
    assert_text(1762259696, "2025-11-04T12:34:56.000000007Z");
    assert_text(-61800000000, "0011-08-21T05:20:00.000000007Z");
    assert_text(-62167219200, "0000-01-01T00:00:00.000000007Z");
    assert_text(253402300799, "9999-12-31T23:59:59.000000007Z");
}

static void stays_within_the_years_of_the_format(void **state)
{
    (void)state;
    assert_text(-62167219201, "0000-01-01T00:00:00.000000007Z");
    assert_text(INT64_MIN, "0000-01-01T00:00:00.000000007Z");
    assert_text(253402300800, "9999-12-31T23:59:59.000000007Z");
    assert_text(67768036191676800, "9999-12-31T23:59:59.000000007Z");
    assert_text(INT64_MAX, "9999-12-31T23:59:59.000000007Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_four_digits_of_a_year),
        cmocka_unit_test(stays_within_the_years_of_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

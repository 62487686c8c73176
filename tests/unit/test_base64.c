/*
 * Base64, both ways, in pieces of every size, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fcgi-app/files/base64.h"

/* Decodes a text in pieces. The number of bytes, or -1. */
static ssize_t decode(const char *text, size_t length, size_t piece, char *out)
{
    struct base64_decoder decoder = {0};
    size_t written = 0;
    for (size_t at = 0; at < length; at += piece) {
        size_t taken = length - at < piece ? length - at : piece;
        ssize_t size = base64_decode(&decoder, text + at, taken, out + written);
        if (size < 0) {
            return -1;
        }
        assert_true((size_t)size <= BASE64_DECODED_MAX(taken));
        written += (size_t)size;
    }
    return base64_decode_end(&decoder) == 0 ? (ssize_t)written : -1;
}

static void comes_back_as_it_was(void **state)
{
    (void)state;
    char data[200], text[BASE64_ENCODED_MAX(sizeof(data))], again[sizeof(data) + 3];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (char)(i * 37 + i / 7);
    }
    for (size_t length = 0; length <= sizeof(data); length++) {
        size_t encoded = base64_encode(data, length, text);
        assert_int_equal(encoded, BASE64_ENCODED_MAX(length));
        for (size_t piece = 1; piece < 12; piece++) {
            assert_int_equal(decode(text, encoded, piece, again), length);
            assert_memory_equal(again, data, length);
        }
    }
}

/* The vectors of RFC 4648, section 10, and the two characters beside letters and digits. */
static void is_the_standard_one(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[16];
        size_t length = base64_encode(rows[i][0], strlen(rows[i][0]), text);
        assert_int_equal(length, strlen(rows[i][1]));
        assert_memory_equal(text, rows[i][1], length);
    }
}

static void refuses_all_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t taken; /* before the wrong character; all of it where only the end is wrong */
    } rows[] = {
        {"Z", 1},      {"Zg", 2},    {"Zg=", 3},      {"Zm9", 3},   {"=", 0},    {"Z=", 1},
        {"Zg=a", 3},   {"Zg===", 4}, {"Zg==Zg==", 4}, {"Zm9v=", 4}, {"Zh==", 2}, {"Zm9=", 3},
        {"Zm9v\n", 4}, {"Zm 9v", 2}, {"Zm-v", 2},     {"Zm_v", 2},  {"\xff", 0}, {"Zm9vY", 5},
    };
    char out[16];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t length = strlen(rows[i].text);
        assert_int_equal(decode(rows[i].text, length, 1, out), -1);
        assert_int_equal(decode(rows[i].text, length, 16, out), -1);
        struct base64_decoder decoder = {0};
        bool whole = base64_decode(&decoder, rows[i].text, length, out) >= 0;
        assert_int_equal(decoder.taken, rows[i].taken);
        assert_int_equal(whole, rows[i].taken == length);
    }
    struct base64_decoder decoder = {0};
    assert_int_equal(base64_decode(&decoder, "Zm\0v", 4, out), -1);
    assert_int_equal(decoder.taken, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(is_the_standard_one),
        cmocka_unit_test(refuses_all_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

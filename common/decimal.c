/*
 * Two digits at a time, from the last to the first.
 */
#include "common/decimal.h"

#include <string.h>

static const char pairs[] = "0001020304050607080910111213141516171819"
                            "2021222324252627282930313233343536373839"
                            "4041424344454647484950515253545556575859"
                            "6061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

size_t decimal_render(char *text, uint64_t number)
{
    char digits[DECIMAL_MAX];
    size_t at = sizeof(digits);
    for (; number >= 100; number /= 100) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * (number % 100), 2);
    }
    if (number >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * number, 2);
    } else {
        digits[--at] = (char)('0' + number);
    }
    memcpy(text, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

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

static size_t count_digits(uint64_t number)
{
    size_t count = 1;
    for (; number >= 10000; number /= 10000) {
        count += 4;
    }
    return count + (number >= 10) + (number >= 100) + (number >= 1000);
}

size_t decimal_render(char *text, uint64_t number)
{
    size_t count = count_digits(number);
    size_t at = count;
    while (number >= 100) {
        at -= 2;
        memcpy(text + at, pairs + 2 * (number % 100), 2);
        number /= 100;
    }
    if (number >= 10) {
        memcpy(text, pairs + 2 * number, 2);
    } else {
        text[0] = (char)('0' + number);
    }
    return count;
}

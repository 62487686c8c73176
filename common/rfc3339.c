#include "common/rfc3339.h"

#include <stddef.h>
#include <time.h>

/* The years that RFC 3339 can write: 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z. */
#define FIRST INT64_C(-62167219200)
#define LAST  INT64_C(253402300799)

/* So many digits, without printf(3): trees have many times. Returns their end. */
static char *put_digits(char *out, uint32_t number, int width)
{
    for (int i = width; i-- > 0; number /= 10) {
        out[i] = (char)('0' + number % 10);
    }
    return out + width;
}

/* The same with a character before them. */
static char *put_part(char *out, char before, uint32_t number, int width)
{
    *out = before;
    return put_digits(out + 1, number, width);
}

const char *rfc3339_format(int64_t seconds, uint32_t nanoseconds, char text[RFC3339_SIZE])
{
    time_t time = (time_t)(seconds < FIRST ? FIRST : seconds > LAST ? LAST : seconds);
    struct tm utc;
    char *out = text;
    if (gmtime_r(&time, &utc) != NULL) {
        out = put_digits(out, (uint32_t)(utc.tm_year + 1900), 4);
        out = put_part(out, '-', (uint32_t)utc.tm_mon + 1, 2);
        out = put_part(out, '-', (uint32_t)utc.tm_mday, 2);
        out = put_part(out, 'T', (uint32_t)utc.tm_hour, 2);
        out = put_part(out, ':', (uint32_t)utc.tm_min, 2);
        out = put_part(out, ':', (uint32_t)utc.tm_sec, 2);
    }
    out = put_part(out, '.', nanoseconds, 9);
    *out++ = 'Z';
    *out = '\0';
    return text;
}

#include "common/rfc3339.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* The years that RFC 3339 can write: 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z. */
#define FIRST INT64_C(-62167219200)
#define LAST  INT64_C(253402300799)

const char *rfc3339_format(int64_t seconds, uint32_t nanoseconds, char text[RFC3339_SIZE])
{
    time_t time = (time_t)(seconds < FIRST ? FIRST : seconds > LAST ? LAST : seconds);
    struct tm utc;
    char date[sizeof("2025-11-04T12:34:56")] = "";
    if (gmtime_r(&time, &utc) != NULL) {
        /* strftime(3) would write the year 12 as "12" */
        int length = snprintf(date, sizeof(date), "%04d", utc.tm_year + 1900);
        (void)strftime(date + length, sizeof(date) - (size_t)length, "-%m-%dT%H:%M:%S", &utc);
    }
    (void)snprintf(text, RFC3339_SIZE, "%s.%09" PRIu32 "Z", date, nanoseconds);
    return text;
}

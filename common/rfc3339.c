/*
 * Times as text.
 */
#include "common/rfc3339.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

const char *rfc3339_format(int64_t seconds, uint32_t nanoseconds, char text[RFC3339_SIZE])
{
    time_t time = (time_t)seconds;
    struct tm utc;
    char date[sizeof("-2147481748-11-04T12:34:56")] = "";
    if (gmtime_r(&time, &utc) != NULL) {
        (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    }
    (void)snprintf(text, RFC3339_SIZE, "%s.%09" PRIu32 "Z", date, nanoseconds);
    return text;
}

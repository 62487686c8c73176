/*
 * Dates in HTTP's headers (RFC 9110, 5.6.7), in whole seconds. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <time.h>

#define HTTP_DATE_SIZE 64

/* "Sun, 06 Nov 1994 08:49:37 GMT". Returns `text`, which is "" for a time that has no year. */
const char *http_date_format(time_t time, char text[HTTP_DATE_SIZE]);

/* Reads one of the three forms that a recipient must accept. Whether it is one. */
bool http_date_parse(const char *text, time_t *time);

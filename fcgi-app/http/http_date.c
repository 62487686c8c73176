/*
 * strftime(3) and strptime(3) write and read English names here: no program of ours asks for
 * another locale than "C".
 */
#include "fcgi-app/http/http_date.h"

#include <stddef.h>
#include <string.h>

static char *put_two_digits(char *out, int number)
{
    *out++ = (char)('0' + number / 10);
    *out++ = (char)('0' + number % 10);
    return out;
}

/* As strftime(3) writes it, for a year of four digits: that takes as long as all other headers of a
 * file. */
static void write_date(const struct tm *parts, char *end)
{
    static const char days[][6] = {"Sun, ", "Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, "};
    static const char months[][6] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
                                     " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
    int year = parts->tm_year + 1900;
    end = put_two_digits(stpcpy(end, days[parts->tm_wday]), parts->tm_mday);
    end = put_two_digits(stpcpy(end, months[parts->tm_mon]), year / 100);
    end = stpcpy(put_two_digits(end, year % 100), " ");
    end = stpcpy(put_two_digits(end, parts->tm_hour), ":");
    end = stpcpy(put_two_digits(end, parts->tm_min), ":");
    (void)stpcpy(put_two_digits(end, parts->tm_sec), " GMT");
}

const char *http_date_format(time_t time, char text[HTTP_DATE_SIZE])
{
    struct tm parts;
    if (gmtime_r(&time, &parts) == NULL) {
        text[0] = '\0';
    } else if (parts.tm_year >= 1000 - 1900 && parts.tm_year <= 9999 - 1900) {
        write_date(&parts, text);
    } else if (strftime(text, HTTP_DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &parts) == 0) {
        text[0] = '\0';
    }
    return text;
}

bool http_date_parse(const char *text, time_t *time)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm parts = {.tm_isdst = 0};
        const char *end = strptime(text, forms[i], &parts);
        if (end != NULL && *end == '\0') {
            *time = timegm(&parts);
            return true;
        }
    }
    return false;
}

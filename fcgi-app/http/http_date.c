/*
 * strftime(3) and strptime(3) write and read English names here: no program of ours asks for
 * another locale than "C".
 */
#include "fcgi-app/http/http_date.h"

#include <stddef.h>

const char *http_date_format(time_t time, char text[HTTP_DATE_SIZE])
{
    struct tm parts;
    if (gmtime_r(&time, &parts) == NULL ||
        strftime(text, HTTP_DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &parts) == 0) {
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

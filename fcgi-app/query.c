/*
 * Taking a query string apart.
 */
#include "fcgi-app/query.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

static int hex_digit(char digit)
{
    if (!isxdigit((unsigned char)digit)) {
        return -1;
    }
    return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
}

/* One decoded byte; moves *text on. A % that begins no %xx stands for itself. */
static char decode_byte(const char **text)
{
    const char *at = (*text)++;
    if (*at == '+') {
        return ' ';
    }
    if (*at == '%') {
        int high = hex_digit(at[1]);
        int low = high < 0 ? -1 : hex_digit(at[2]);
        if (low >= 0) {
            *text = at + 3;
            return (char)(high * 16 + low);
        }
    }
    return *at;
}

static char *decode(const char *text, size_t length)
{
    cleanup_free char *value = malloc(length + 1);
    if (value == NULL) {
        return NULL;
    }
    char *out = value;
    for (const char *end = text + length; text < end;) {
        *out = decode_byte(&text);
        if (*out++ == '\0') {
            return NULL;
        }
    }
    *out = '\0';
    return steal_pointer(value);
}

char *query_value(const char *query, const char *name)
{
    size_t name_length = strlen(name);
    while (*query != '\0') {
        size_t length = strcspn(query, "&");
        if (length > name_length && query[name_length] == '=' &&
            strncmp(query, name, name_length) == 0) {
            return decode(query + name_length + 1, length - name_length - 1);
        }
        query += length;
        query += *query == '&';
    }
    return NULL;
}

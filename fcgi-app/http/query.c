/*
 * Taking a query string apart.
 */
#include "fcgi-app/http/query.h"

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

/* Decodes into `out`, which has room for `length` bytes and a NUL. False when one is in it. */
static bool decode(char *out, const char *text, size_t length)
{
    for (const char *end = text + length; text < end;) {
        *out = decode_byte(&text);
        if (*out++ == '\0') {
            return false;
        }
    }
    *out = '\0';
    return true;
}

/* The raw value of the first parameter of this name, and its length; NULL if there is none. */
static const char *find_value(const char *query, const char *name, size_t *value_length)
{
    size_t name_length = strlen(name);
    while (*query != '\0') {
        size_t length = strcspn(query, "&");
        if (length > name_length && query[name_length] == '=' &&
            strncmp(query, name, name_length) == 0) {
            *value_length = length - name_length - 1;
            return query + name_length + 1;
        }
        query += length;
        query += *query == '&';
    }
    return NULL;
}

int query_value(const char *query, const char *name, char **value)
{
    size_t length;
    const char *raw = find_value(query, name, &length);
    *value = NULL;
    if (raw == NULL) {
        return 0;
    }
    cleanup_free char *decoded = malloc(length + 1);
    if (decoded == NULL) {
        return -1;
    }
    if (decode(decoded, raw, length)) {
        *value = steal_pointer(decoded);
    }
    return 0;
}

bool query_has(const char *query, const char *name)
{
    size_t length;
    return find_value(query, name, &length) != NULL && length > 0;
}

int query_flag(const char *query, const char *name, bool fallback, bool *flag)
{
    cleanup_free char *value = NULL;
    *flag = fallback;
    if (!query_has(query, name)) {
        return 0;
    }
    if (query_value(query, name, &value) < 0) {
        return -1;
    }
    if (value == NULL) {
        return 1;
    }
    *flag = strcmp(value, "1") == 0 || strcmp(value, "true") == 0;
    return *flag || strcmp(value, "0") == 0 || strcmp(value, "false") == 0 ? 0 : 1;
}

#include "fcgi-app/http/prefer.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static const char space[] = " \t";

/* Behind a quoted string, which begins at `at`; at the end of the text if it is not closed. */
static const char *skip_quoted(const char *at)
{
    for (at++; *at != '\0' && *at != '"'; at++) {
        at += *at == '\\' && at[1] != '\0';
    }
    return *at == '\0' ? at : at + 1;
}

/* Behind the preference that `at` is in, with its parameters and the comma. */
static const char *skip_preference(const char *at)
{
    while (*at != '\0' && *at != ',') {
        at = *at == '"' ? skip_quoted(at) : at + 1;
    }
    return *at == ',' ? at + 1 : at;
}

/* Whether the word of `length` bytes is `wanted`, in any case. */
static bool is_word(const char *text, size_t length, const char *wanted)
{
    return length == strlen(wanted) && strncasecmp(text, wanted, length) == 0;
}

/* Whether the value behind the name of a preference is "strict". */
static bool is_strict(const char *at)
{
    at += strspn(at, space);
    if (*at != '=') {
        return false;
    }
    at++;
    at += strspn(at, space);
    bool is_quoted = *at == '"';
    at += is_quoted;
    return is_word(at, strcspn(at, is_quoted ? "\"" : " \t;,"), "strict");
}

bool prefers_strict_handling(const char *prefer)
{
    for (const char *at = prefer; *at != '\0'; at = skip_preference(at)) {
        at += strspn(at, space);
        size_t length = strcspn(at, " \t=;,");
        if (is_word(at, length, "handling")) {
            return is_strict(at + length);
        }
    }
    return false;
}

#include "common/variables.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/logger.h"

const char *variables_get(const struct variables *variables, const char *name)
{
    size_t length = strlen(name);
    const char *value = variables == NULL ? getenv(name) : NULL;
    for (; variables != NULL && value == NULL; variables = variables->shared) {
        for (size_t i = 0; i < variables->count; i++) {
            const char *entry = variables->entries[i];
            if (strncmp(entry, name, length) == 0 && entry[length] == '=') {
                value = entry + length + 1;
            }
        }
    }
    return value == NULL || *value == '\0' ? NULL : value;
}

int variables_add(struct variables *variables, const char *name, const char *value)
{
    char **entries =
        reallocarray(variables->entries, variables->count + 2, sizeof(*variables->entries));
    if (entries == NULL) {
        return -1;
    }
    variables->entries = entries;
    if (asprintf(&entries[variables->count], "%s=%s", name, value) < 0) {
        entries[variables->count] = NULL;
        return -1;
    }
    entries[++variables->count] = NULL;
    return 0;
}

int variables_fail(const struct variables *variables, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return variables == NULL ? log_failure("%s", text)
                             : log_failure("%s: %s", variables->where, text);
}

void variables_free(struct variables *variables)
{
    for (size_t i = 0; i < variables->count; i++) {
        free(variables->entries[i]);
    }
    free(variables->entries);
    free(variables->where);
    *variables = (struct variables){0};
}

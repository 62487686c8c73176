/*
 * An array of strings, such as the arguments of a program, as texts.
 */
#pragma once

#include <stddef.h>

#include "fcgi-app/json/json_scan.h"

struct json_texts {
    const char **all; /* owned, as is what they point at; NULL when there are none */
    size_t count, capacity;
    char *data; /* all of them, one behind the other */
};

/*
 * Takes the elements of a scanned array into the empty *texts, in their order. 0; -1 when memory is
 * out; 1 when one of them is no string or has a NUL or a lone surrogate, and *fault (static) says
 * which of these. Clear it in any case. Thread-safe.
 */
int json_texts_take(struct json_texts *texts, struct json_span array, const char **fault);

void json_texts_clear(struct json_texts *texts);

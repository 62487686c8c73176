/*
 * An order of a client: a text that is a JSON object with a "type".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

/* The object, which the caller frees; NULL for any other text. */
cJSON *order_parse(const char *text, size_t length);
void order_freep(cJSON **order);

/* Whether it is of this type; not if it is NULL. */
bool order_is(const cJSON *order, const char *type);

/* The member as a text, borrowed; NULL if it is none. */
const char *order_text(const cJSON *order, const char *name);

/* The member as a whole number from 0 to `most`; -1 if it is none. */
long order_number(const cJSON *order, const char *name, long most);

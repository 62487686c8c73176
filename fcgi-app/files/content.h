/*
 * How the content of a file is written in JSON: as text where it is UTF-8, otherwise in base64. So
 * what is read is always what is in the file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/http/json_body.h"

enum coding {
    CODING_ANY, /* the client does not say */
    CODING_TEXT,
    CODING_BASE64,
};

#define CODING_MEMBERS                                                                             \
    {JSON_MEMBER("encoding", TEXT, "How content is written: utf-8 or base64.")},                   \
    {                                                                                              \
        JSON_MEMBER("is_base64", FLAG, "The same as encoding base64.")                             \
    }

/*
 * Reads what the client says of it, with CODING_MEMBERS among the members. NULL, or what is wrong.
 * Thread-safe.
 */
const char *coding_read(const struct json_body *body, enum coding *coding);

/* Whether the beginning of a file is of one that is no text: a NUL is in it, and it is no UTF-8.
 * Thread-safe. */
#define CODING_HEAD_SIZE ((size_t)8 << 10) /* by which it is judged at most */
bool coding_is_of_bytes(const char *head, size_t length);

/*
 * The standard input of a foreground command: what its client sent, as a file that the command
 * reads by itself.
 */
#pragma once

#include <stdbool.h>

#include "fcgi-app/http/json_body.h"

struct request;

#define INPUT_FILE_MEMBERS                                                                         \
    {JSON_MEMBER("stdin", CONTENT, "The text of its standard input.")},                            \
    {                                                                                              \
        JSON_MEMBER("stdin_encoding", TEXT, "How stdin is written: utf-8 or base64.")              \
    }

/* Opens the file of the body's stdin. *fd becomes its descriptor, the caller's, or -1 if there is
 * none. False when the request has been answered. Thread-safe. */
bool input_file_open(struct request *request, const struct json_body *body, int *fd);

/*
 * Reads a member that says how bytes are written in JSON. True with *is_base64, or false when the
 * request has been answered. Thread-safe.
 */
bool encoding_member_read(struct request *request, const struct json_body *body, const char *name,
                          bool *is_base64);

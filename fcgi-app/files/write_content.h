/*
 * Writing a file with what a body has of it: the members path, content, encoding, is_base64. For
 * /write_file, and each of /write_files.
 */
#pragma once

#include "fcgi-app/files/fs.h"
#include "fcgi-app/http/json_body.h"

/* The members encoding and is_base64 contradict, or content is not what they say: -1 with *error,
 * ERROR_invalid_request. Nothing was done. 0 otherwise. Thread-safe. */
int write_content_check(const struct json_body *body, struct fs_error *error);

/* Writes it, whole or not at all, after that check. 0, or -1 with *error. Thread-safe. */
int write_content(const struct json_body *body, struct fs_error *error);

/* Whether it is text: neither of these members says base64. */
bool write_content_is_text(const struct json_body *body);

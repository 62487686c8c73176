/*
 * What requests to /uploads say, and what is answered to them. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct request;
struct upload_session;

#define UPLOAD_TUS_VERSION "1.0.0"

/* Reads a number of bytes: digits alone. Whether it is one. */
bool upload_number_read(const char *text, uint64_t *number);

/* Whether the body is a piece of an upload. */
bool upload_has_content_type(const struct request *request);

/* Answers with 415 that it is not. */
void upload_refuse_content_type(struct request *request);

/* Answers with the state of the upload, and no body. `collection`: NULL, or what follows /uploads
 * in the path of the request ("" or "/"), for a Location that leads from there to the upload. */
void upload_answer(struct request *request, int status, const struct upload_session *session,
                   const char *collection);

/*
 * The answer to a request that does not become a WebSocket: a JSON error.
 */
#pragma once

#include <stddef.h>

#include "api/errors.h"

#define REFUSAL_SIZE 3072

/* Renders the answer as nginx reads it over SCGI. `headers` are whole lines of at most 200 bytes,
 * or
 * ""; a message of more than 255 bytes is cut. Its length. Thread-safe. */
size_t refusal_render(char answer[REFUSAL_SIZE], int status, enum api_error error,
                      const char *headers, const char *message);

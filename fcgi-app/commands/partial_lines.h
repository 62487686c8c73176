/*
 * The member by which a client wants unfinished lines: a prompt is one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-app/http/json_body.h"

struct request;

#define PARTIAL_MEMBER                                                                             \
    {                                                                                              \
        JSON_MEMBER("partial_ms", COUNT, "Sends an unfinished line after this time.")              \
    }

#define PARTIAL_MAX_MS 600000

/* *partial_ms is LINE_PATIENCE_NONE (common/line_reader.h) where the member is absent. False when
 * the request has been answered: the time is too long. */
bool partial_lines_read(struct request *request, const struct json_body *body, int64_t *partial_ms);

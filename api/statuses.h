/*
 * The HTTP statuses that clients see. fcgi-app takes the reason phrases and the labels of its
 * metrics from this list, the launcher what nginx says for its own errors. One entry a line.
 */
#pragma once

#include "api/errors.h"

/* What nginx says for an error with a status that the list does not have. */
#define API_STATUS_MESSAGE "Request failed"

/* clang-format off */
/* STATUS(status, reason phrase), FAILURE(status, reason phrase, nginx's text, error code). 499 is no
 * answer: metrics count with it the clients that left before there was one. */
#define API_STATUSES(STATUS, FAILURE) \
    STATUS(200, "OK") \
    STATUS(201, "Created") \
    STATUS(204, "No Content") \
    STATUS(206, "Partial Content") \
    STATUS(304, "Not Modified") \
    STATUS(308, "Permanent Redirect") \
    FAILURE(400, "Bad Request", "Bad request", invalid_request) \
    FAILURE(401, "Unauthorized", "Unauthorized: the header Authorization: Bearer <secret> is missing or wrong", unauthorized) \
    FAILURE(403, "Forbidden", "Forbidden", forbidden) \
    FAILURE(404, "Not Found", "Not found", not_found) \
    FAILURE(405, "Method Not Allowed", "Method not allowed", method_not_allowed) \
    FAILURE(408, "Request Timeout", "Request timed out", timeout) \
    FAILURE(409, "Conflict", "Conflict", may_have_run) \
    FAILURE(410, "Gone", "Gone", not_found) \
    FAILURE(411, "Length Required", "Length required", invalid_request) \
    FAILURE(412, "Precondition Failed", "Precondition failed", precondition_failed) \
    FAILURE(413, "Payload Too Large", "Request body is larger than SANDBOX_MAX_BODY, or a file larger than SANDBOX_MAX_UPLOAD", too_large) \
    FAILURE(414, "URI Too Long", "Request line is too long", too_large) \
    FAILURE(415, "Unsupported Media Type", "Unsupported media type", unsupported) \
    FAILURE(416, "Range Not Satisfiable", "Range not satisfiable", invalid_request) \
    FAILURE(421, "Misdirected Request", "Misdirected request", not_found) \
    FAILURE(423, "Locked", "Locked", in_use) \
    FAILURE(426, "Upgrade Required", "Upgrade required", invalid_request) \
    FAILURE(429, "Too Many Requests", "Too many requests", too_many) \
    FAILURE(431, "Request Header Fields Too Large", "Request headers are too large", too_large) \
    STATUS(460, "Checksum Mismatch") \
    STATUS(499, "Client Closed Request") \
    FAILURE(500, "Internal Server Error", "Internal error", internal) \
    FAILURE(501, "Not Implemented", "Not implemented", unsupported) \
    FAILURE(503, "Service Unavailable", "Service unavailable", unavailable) \
    FAILURE(505, "HTTP Version Not Supported", "HTTP version not supported", unsupported) \
    FAILURE(507, "Insufficient Storage", "Insufficient storage", no_space)
/* clang-format on */

struct api_status {
    const char *reason;
    const char *message; /* nginx's text; NULL where the status is no failure */
    int status;
    enum api_error error; /* of nginx's answer, where there is a message */
};

#define API_STATUS_NUMBER(status, ...) API_STATUS_##status,
enum { API_STATUSES(API_STATUS_NUMBER, API_STATUS_NUMBER) API_STATUS_COUNT };
#undef API_STATUS_NUMBER

/* The statuses, in ascending order. */
extern const struct api_status api_statuses[API_STATUS_COUNT];

/* The place of a status in the list; API_STATUS_COUNT for one that is not there. */
unsigned api_status_index(int status);

/* Whether an answer with this status asks the client to repeat the request later. */
#define API_STATUS_REPEATS(status) ((status) == 429 || (status) == 503)

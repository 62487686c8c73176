/*
 * Whole answers in JSON, with their length. An answer with status 429 or 503 gets a Retry-After.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/errors.h"

struct cJSON;
struct request;

/*
 * Only an answer of up to this size has a Content-Length. It leaves in one write(2) with its
 * header, so nginx has all of it or nothing. When a longer answer is cut after its header, nginx
 * (1.22, without buffering) keeps the connection to the client. With a length the client would wait
 * for the rest until keepalive_timeout; without one it sees the end.
 */
#define ANSWER_AT_ONCE ((size_t)6144)

/* Sends `json` (owned: deleted here; NULL, from an allocation that failed: answer_lost()). */
void answer_json(struct request *request, int status, struct cJSON *json);

/* One member of an object. The list of an object ends with one without a name. */
struct answer_field {
    const char *name;
    enum { FIELD_TEXT, FIELD_NUMBER, FIELD_FLAG } kind;
    const char *text; /* borrowed; NULL: the member is left out */
    double number;    /* also of a flag: 0 is false */
};
#define TEXT_FIELD(member, value)                                                                  \
    {                                                                                              \
        .name = (member), .kind = FIELD_TEXT, .text = (value)                                      \
    }
#define NUMBER_FIELD(member, value)                                                                \
    {                                                                                              \
        .name = (member), .kind = FIELD_NUMBER, .number = (double)(value)                          \
    }
#define FLAG_FIELD(member, value)                                                                  \
    {                                                                                              \
        .name = (member), .kind = FIELD_FLAG, .number = (value)                                    \
    }
#define FIELDS(...) ((const struct answer_field[]){__VA_ARGS__, {.name = NULL}})

/* An object with these members, for answer_json() or sse_event(). NULL when memory is out. */
struct cJSON *fields_object(const struct answer_field *fields);

/* Answers with an object of these members. */
void answer_fields(struct request *request, int status, const struct answer_field *fields);

/* {"success": true} */
void answer_success(struct request *request);

/* {"error": "<message>", "error_code": "<error>"}. A status of 5xx only where certainly nothing was
 * changed, because clients repeat the request: see answer_lost(). */
__attribute__((format(printf, 4, 5))) void
answer_error(struct request *request, int status, enum api_error error, const char *format, ...);

/* The same after "success": false. */
__attribute__((format(printf, 4, 5))) void
answer_failure(struct request *request, int status, enum api_error error, const char *format, ...);

/* The same with some of these members, and further header lines, each with its \r\n; NULL: none. */
enum error_extras {
    ERROR_FAILURE = 1,      /* "success": false */
    ERROR_MAY_HAVE_RUN = 2, /* "may_have_run": true */
};
__attribute__((format(printf, 6, 7))) void answer_error_with(struct request *request, int status,
                                                             enum api_error error,
                                                             const char *headers, unsigned extras,
                                                             const char *format, ...);

/* The object of an error, for answer_json() or sse_event(). NULL when memory is out. */
__attribute__((format(printf, 3, 0))) struct cJSON *
error_object(unsigned extras, enum api_error error, const char *format, va_list arguments);

/* 503 for a request that is not begun, or reads, because the server is stopping. */
void answer_stopping(struct request *request);

/*
 * For a request that was lost on the way to its end. If its endpoint may change something: 409 with
 * "may_have_run": true, because published clients repeat every 5xx. If it only reads: 503.
 */
__attribute__((format(printf, 2, 3))) void answer_lost(struct request *request, const char *format,
                                                       ...);

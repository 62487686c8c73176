/*
 * What was read of a request, from its body (json.c) or its query (query.c). Only these two look
 * into it; handlers use json.h.
 */
#ifndef FCGI_APP_HTTP_JSON_BODY_H
#define FCGI_APP_HTTP_JSON_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include "api/errors.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/json/json_environment.h"
#include "fcgi-app/json/json_scan.h"

struct spool;

struct json_value {
    const struct json_member *member;
    bool seen; /* given, also as null */
    enum json_type type;
    struct json_span span; /* in the view of the spool, or of the query in plain text */
    char *text;            /* JSON_TEXT*: decoded, or NULL */
    struct json_environment environment;
};

/* Why a request is refused. */
struct json_refusal {
    int status; /* 0: the client has left */
    enum api_error error;
    const char *headers; /* lines of the answer, or NULL */
    char message[512];
};

struct json_body {
    struct json_refusal refusal;
    struct spool *spool; /* NULL: it is a query, and the texts lie behind the values */
    size_t count;
    struct json_value values[];
};

/* Values for these members, and `room` bytes behind them; no spool. NULL when memory is out. */
struct json_body *json_body_new(const struct json_member *members, size_t count, size_t room);

/* Notes a refusal. Always -1. */
__attribute__((format(printf, 4, 5))) int
json_refuse(struct json_body *body, int status, enum api_error error, const char *format, ...);

/* The same with status 400. */
#define json_refuse_invalid(body, ...) json_refuse(body, 400, ERROR_invalid_request, __VA_ARGS__)

/* The refusal for a required member that is absent. */
int json_refuse_absent(struct json_body *body, const struct json_member *member);

/* Answers with the refusal, unless the client has left; NULL: memory was out. `flags`: enum
 * json_flags. */
void json_answer_refusal(struct request *request, const struct json_body *body, unsigned flags);

bool json_is_plain_digits(struct json_span span);

/* The number in a span of plain digits, or more than JSON_COUNT_MAX. */
uint64_t json_digits_value(struct json_span span);

#endif

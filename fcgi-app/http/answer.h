/*
 * Whole answers in JSON, with their length. All but documents that nest need no memory beyond the
 * stack, so what is to be said can always be said.
 */
#pragma once

#include "api/errors.h"
#include "fcgi-app/http/writer.h"

struct cJSON;
struct request;

/* Answers with an object of these members (writer.h). */
void answer_fields(struct request *request, int status, const struct answer_field *fields);

/* Answers with a document that nests, and deletes it. NULL, which is what is left where memory was
 * out: 503. */
void answer_json(struct request *request, int status, struct cJSON *json);

/* {"success": true} */
void answer_success(struct request *request);

/* Messages of errors are cut behind so many bytes. Bytes that are no UTF-8 are replaced. */
#define ERROR_MESSAGE_SIZE 5120

/*
 * {"error": "<message>", "error_code": "<error>"} with some of these members, and header lines,
 * each with its \r\n; NULL: none. A status of 5xx only where certainly nothing was changed, because
 * clients repeat the request: see answer_lost().
 */
enum error_extras {
    ERROR_FAILURE = 1,      /* "success": false */
    ERROR_MAY_HAVE_RUN = 2, /* "may_have_run": true */
};
__attribute__((format(printf, 6, 7))) void answer_error_with(struct request *request, int status,
                                                             enum api_error error,
                                                             const char *headers, unsigned extras,
                                                             const char *format, ...);

/* The same with neither, and with "success": false alone. */
#define answer_error(request, status, error, ...)                                                  \
    answer_error_with(request, status, error, NULL, 0, __VA_ARGS__)
#define answer_failure(request, status, error, ...)                                                \
    answer_error_with(request, status, error, NULL, ERROR_FAILURE, __VA_ARGS__)

/* 503 for a request that is not begun, or reads, because the server is stopping. */
void answer_stopping(struct request *request);

/*
 * For a request that was lost on the way to its end. If its endpoint may change something: 409 with
 * "may_have_run": true, because published clients repeat every 5xx. If it only reads: 503.
 */
__attribute__((format(printf, 2, 3))) void answer_lost(struct request *request, const char *format,
                                                       ...);

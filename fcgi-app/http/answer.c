/*
 * Whole answers: a JSON object with its length.
 */
#include "fcgi-app/http/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "common/utf8.h"
#include "fcgi-app/http/query.h"

/* Sent instead of an answer, whatever that would have said. */
#define OUT_OF_MEMORY "{\"error\":\"Out of memory for the answer\"}"
#define OUT_OF_MEMORY_AFTER_ALL                                                                    \
    "{\"error\":\"Out of memory for the answer: the request may have been done\","                 \
    "\"may_have_run\":true}"

static void send_text(struct request *request, int status, const char *headers, const char *text)
{
    char all[256];
    size_t length = strlen(text);
    if (length <= ANSWER_AT_ONCE) {
        (void)snprintf(all, sizeof(all), "%sContent-Length: %zu\r\n",
                       headers == NULL ? "" : headers, length);
        headers = all;
    }
    if (request_begin(request, status, "application/json", headers) == 0) {
        (void)request_write(request, text, length);
    }
}

static void answer_out_of_memory(struct request *request)
{
    if (request_may_change(request)) {
        send_text(request, 409, NULL, OUT_OF_MEMORY_AFTER_ALL);
    } else {
        send_text(request, 503, RETRY_AFTER, OUT_OF_MEMORY);
    }
}

void answer_json_with(struct request *request, int status, const char *headers, cJSON *json)
{
    char *text = json == NULL ? NULL : cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL) {
        answer_out_of_memory(request);
        return;
    }
    send_text(request, status, headers, text);
    cJSON_free(text);
}

void answer_json(struct request *request, int status, cJSON *json)
{
    answer_json_with(request, status, NULL, json);
}

/* What became of a message: bytes that are no UTF-8 replaced. NULL when memory is out. */
__attribute__((format(printf, 1, 0))) static char *message_text(const char *format,
                                                                va_list arguments)
{
    cleanup_free char *raw = NULL;
    if (vasprintf(&raw, format, arguments) < 0) {
        raw = NULL;
        return NULL;
    }
    return utf8_copy(raw);
}

/* {"error": message}, after "success": false if `failure`. NULL when memory is out. */
static cJSON *error_object(const char *message, bool failure)
{
    cJSON *json = cJSON_CreateObject();
    if (json == NULL || message == NULL ||
        (failure && cJSON_AddFalseToObject(json, "success") == NULL) ||
        cJSON_AddStringToObject(json, "error", message) == NULL) {
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

/* The error that the format and its arguments make; further header lines, or NULL. */
__attribute__((format(printf, 5, 0))) static void answer_message(struct request *request,
                                                                 int status, const char *headers,
                                                                 bool failure, const char *format,
                                                                 va_list arguments)
{
    cleanup_free char *message = message_text(format, arguments);
    answer_json_with(request, status, headers, error_object(message, failure));
}

bool answer_flag(struct request *request, const char *name, bool fallback, bool *flag)
{
    int read = query_flag(request_query(request), name, fallback, flag);
    if (read < 0) {
        answer_error(request, 500, "Out of memory");
    } else if (read > 0) {
        answer_error(request, 400, "Invalid %s: it must be true, false, 1 or 0", name);
    }
    return read == 0;
}

void answer_error(struct request *request, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    answer_message(request, status, NULL, false, format, arguments);
    va_end(arguments);
}

void answer_failure(struct request *request, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    answer_message(request, status, NULL, true, format, arguments);
    va_end(arguments);
}

void answer_error_with(struct request *request, int status, const char *headers, bool failure,
                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    answer_message(request, status, headers, failure, format, arguments);
    va_end(arguments);
}

void answer_unavailable(struct request *request, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    answer_message(request, 503, RETRY_AFTER, false, format, arguments);
    va_end(arguments);
}

void answer_lost(struct request *request, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (request_may_change(request)) {
        cleanup_free char *message = message_text(format, arguments);
        cJSON *json = error_object(message, false);
        if (json != NULL && cJSON_AddTrueToObject(json, "may_have_run") == NULL) {
            cJSON_Delete(json);
            json = NULL;
        }
        answer_json(request, 409, json);
    } else {
        answer_message(request, 503, RETRY_AFTER, false, format, arguments);
    }
    va_end(arguments);
}

void answer_too_many(struct request *request, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    answer_message(request, 429, RETRY_AFTER, false, format, arguments);
    va_end(arguments);
}

void answer_success(struct request *request)
{
    cJSON *json = cJSON_CreateObject();
    if (json != NULL && cJSON_AddTrueToObject(json, "success") == NULL) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json(request, 200, json);
}

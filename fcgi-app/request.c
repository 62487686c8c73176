/*
 * Whole answers: a JSON object with its length.
 */
#include "fcgi-app/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "common/utf8.h"

#define OUT_OF_MEMORY "{\"error\":\"Out of memory\"}"

static void send_text(struct request *request, int status, const char *headers, const char *text)
{
    char all[256];
    size_t length = strlen(text);
    (void)snprintf(all, sizeof(all), "%sContent-Length: %zu\r\n", headers == NULL ? "" : headers,
                   length);
    if (request_begin(request, status, "application/json", all) == 0) {
        (void)request_write(request, text, length);
    }
}

void answer_json_with(struct request *request, int status, const char *headers, cJSON *json)
{
    char *text = json == NULL ? NULL : cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL) {
        send_text(request, 500, NULL, OUT_OF_MEMORY);
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

void answer_error(struct request *request, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cleanup_free char *message = message_text(format, arguments);
    va_end(arguments);
    answer_json(request, status, error_object(message, false));
}

void answer_failure(struct request *request, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cleanup_free char *message = message_text(format, arguments);
    va_end(arguments);
    answer_json(request, status, error_object(message, true));
}

void answer_unavailable(struct request *request, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cleanup_free char *message = message_text(format, arguments);
    va_end(arguments);
    answer_json_with(request, 503, "Retry-After: 1\r\n", error_object(message, false));
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

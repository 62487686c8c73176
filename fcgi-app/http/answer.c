#include "fcgi-app/http/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "api/endpoints.h"
#include "api/statuses.h"
#include "common/cleanup.h"
#include "common/utf8.h"
#include "fcgi-app/http/request.h"

/* Sent instead of an answer, whatever that would have said. */
#define OUT_OF_MEMORY "{\"error\":\"Out of memory for the answer\",\"error_code\":\"unavailable\"}"
#define OUT_OF_MEMORY_AFTER_ALL                                                                    \
    "{\"error\":\"Out of memory for the answer: the request may have been done\","                 \
    "\"error_code\":\"may_have_run\",\"may_have_run\":true}"

static bool may_change(const struct request *request)
{
    const struct api_endpoint *endpoint = request_endpoint(request);
    return endpoint != NULL && endpoint->effect == CHANGES;
}

static void send_text(struct request *request, int status, const char *headers, const char *text)
{
    char all[256];
    size_t length = strlen(text);
    int used = snprintf(all, sizeof(all), "%s%s", headers == NULL ? "" : headers,
                        API_STATUS_REPEATS(status) ? "Retry-After: 1\r\n" : "");
    if (length <= ANSWER_AT_ONCE) {
        (void)snprintf(all + used, sizeof(all) - (size_t)used, "Content-Length: %zu\r\n", length);
    }
    if (request_begin(request, status, "application/json", all) == 0) {
        (void)request_write(request, text, length);
    }
}

static void send_json(struct request *request, int status, const char *headers, cJSON *json)
{
    char *text = json == NULL ? NULL : cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text != NULL) {
        send_text(request, status, headers, text);
        cJSON_free(text);
    } else if (may_change(request)) {
        send_text(request, 409, NULL, OUT_OF_MEMORY_AFTER_ALL);
    } else {
        send_text(request, 503, NULL, OUT_OF_MEMORY);
    }
}

void answer_json(struct request *request, int status, cJSON *json)
{
    send_json(request, status, NULL, json);
}

static bool add_field(cJSON *json, const struct answer_field *field)
{
    switch (field->kind) {
    case FIELD_NUMBER:
        return cJSON_AddNumberToObject(json, field->name, field->number) != NULL;
    case FIELD_FLAG:
        return cJSON_AddBoolToObject(json, field->name, field->number != 0) != NULL;
    case FIELD_TEXT:
        break;
    }
    return field->text == NULL || cJSON_AddStringToObject(json, field->name, field->text) != NULL;
}

cJSON *fields_object(const struct answer_field *fields)
{
    cJSON *json = cJSON_CreateObject();
    for (; json != NULL && fields->name != NULL; fields++) {
        if (!add_field(json, fields)) {
            cJSON_Delete(json);
            json = NULL;
        }
    }
    return json;
}

void answer_fields(struct request *request, int status, const struct answer_field *fields)
{
    send_json(request, status, NULL, fields_object(fields));
}

void answer_success(struct request *request)
{
    answer_fields(request, 200, FIELDS(FLAG_FIELD("success", true)));
}

/* ---- errors ---- */

/* The message that the format makes; bytes that are no UTF-8 are replaced. NULL when memory is out.
 */
__attribute__((format(printf, 1, 0))) static char *error_message(const char *format,
                                                                 va_list arguments)
{
    cleanup_free char *raw = NULL;
    if (vasprintf(&raw, format, arguments) < 0) {
        raw = NULL;
        return NULL;
    }
    return utf8_copy(raw);
}

cJSON *error_object(unsigned extras, enum api_error error, const char *format, va_list arguments)
{
    cleanup_free char *message = error_message(format, arguments);
    struct answer_field fields[] = {FLAG_FIELD("success", false),
                                    TEXT_FIELD("error", message),
                                    TEXT_FIELD("error_code", api_error_code(error)),
                                    FLAG_FIELD("may_have_run", true),
                                    {.name = NULL}};
    if ((extras & ERROR_MAY_HAVE_RUN) == 0) {
        fields[3].name = NULL;
    }
    return message == NULL ? NULL : fields_object(&fields[(extras & ERROR_FAILURE) == 0]);
}

void answer_error(struct request *request, int status, enum api_error error, const char *format,
                  ...)
{
    va_list arguments;
    va_start(arguments, format);
    send_json(request, status, NULL, error_object(0, error, format, arguments));
    va_end(arguments);
}

void answer_failure(struct request *request, int status, enum api_error error, const char *format,
                    ...)
{
    va_list arguments;
    va_start(arguments, format);
    send_json(request, status, NULL, error_object(ERROR_FAILURE, error, format, arguments));
    va_end(arguments);
}

void answer_error_with(struct request *request, int status, enum api_error error,
                       const char *headers, unsigned extras, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    send_json(request, status, headers, error_object(extras, error, format, arguments));
    va_end(arguments);
}

void answer_stopping(struct request *request)
{
    answer_error(request, 503, ERROR_stopping, "The server is stopping");
}

void answer_lost(struct request *request, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (may_change(request)) {
        send_json(request, 409, NULL,
                  error_object(ERROR_MAY_HAVE_RUN, ERROR_may_have_run, format, arguments));
    } else {
        send_json(request, 503, NULL, error_object(0, ERROR_unavailable, format, arguments));
    }
    va_end(arguments);
}

#include "fcgi-app/http/answer.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "fcgi-app/http/request.h"

/* What has a length fits: a writer sends before its buffer is full to the last byte. */
#define ANSWER_BUFFER (ANSWER_AT_ONCE + 512)

static void send_fields(struct request *request, int status, const char *headers,
                        const struct answer_field *fields)
{
    char buffer[ANSWER_BUFFER];
    struct writer writer = writer_over(request, buffer, sizeof(buffer), status);
    writer_header(&writer, "%s", headers);
    (void)writer_string(&writer, "{");
    (void)writer_fields(&writer, fields);
    (void)writer_string(&writer, "}");
    (void)writer_finish(&writer);
}

void answer_fields(struct request *request, int status, const struct answer_field *fields)
{
    send_fields(request, status, "", fields);
}

void answer_json(struct request *request, int status, cJSON *json)
{
    char *text = json == NULL ? NULL : cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory for the answer");
        return;
    }
    char buffer[ANSWER_BUFFER];
    struct writer writer = writer_over(request, buffer, sizeof(buffer), status);
    (void)writer_string(&writer, text);
    cJSON_free(text);
    (void)writer_finish(&writer);
}

void answer_success(struct request *request)
{
    answer_fields(request, 200, FIELDS(FLAG_FIELD("success", true)));
}

/* ---- errors ---- */

__attribute__((format(printf, 6, 0))) static void send_error(struct request *request, int status,
                                                             enum api_error error,
                                                             const char *headers, unsigned extras,
                                                             const char *format, va_list arguments)
{
    char message[ERROR_MESSAGE_SIZE];
    (void)vsnprintf(message, sizeof(message), format, arguments);
    const struct answer_field fields[] = {
        FLAG_FIELD("success", false),
        TEXT_FIELD("error", message),
        TEXT_FIELD("error_code", api_error_code(error)),
        {.name = (extras & ERROR_MAY_HAVE_RUN) != 0 ? "may_have_run" : NULL,
         .kind = FIELD_FLAG,
         .number = true},
        {.name = NULL}};
    send_fields(request, status, headers, &fields[(extras & ERROR_FAILURE) == 0]);
}

void answer_error_with(struct request *request, int status, enum api_error error,
                       const char *headers, unsigned extras, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    send_error(request, status, error, headers == NULL ? "" : headers, extras, format, arguments);
    va_end(arguments);
}

void answer_stopping(struct request *request)
{
    answer_error(request, 503, ERROR_stopping, "The server is stopping");
}

void answer_lost(struct request *request, const char *format, ...)
{
    va_list arguments;
    bool changes = !request_only_reads(request);
    va_start(arguments, format);
    send_error(request, changes ? 409 : 503, changes ? ERROR_may_have_run : ERROR_unavailable, "",
               changes ? ERROR_MAY_HAVE_RUN : 0, format, arguments);
    va_end(arguments);
}

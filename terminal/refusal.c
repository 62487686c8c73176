#include "terminal/refusal.h"

#include <stdio.h>
#include <string.h>

#include "api/statuses.h"
#include "common/json_text.h"

#define MESSAGE_MOST 255

size_t refusal_render(char answer[REFUSAL_SIZE], int status, enum api_error error,
                      const char *headers, const char *message)
{
    char escaped[JSON_ESCAPED_MAX(MESSAGE_MOST)];
    char body[sizeof(escaped) + 64];
    size_t used;
    size_t length = json_escape(escaped, message, strnlen(message, MESSAGE_MOST), true, &used);
    int body_length = snprintf(body, sizeof(body), "{\"error\":\"%.*s\",\"error_code\":\"%s\"}",
                               (int)length, escaped, api_error_code(error));
    return (size_t)snprintf(answer, REFUSAL_SIZE,
                            "Status: %d %s\r\nContent-Type: application/json\r\n"
                            "Content-Length: %d\r\n%s%s\r\n%s",
                            status, api_statuses[api_status_index(status)].reason, body_length,
                            API_STATUS_REPEATS(status) ? "Retry-After: 1\r\n" : "", headers, body);
}

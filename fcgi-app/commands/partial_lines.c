#include "fcgi-app/commands/partial_lines.h"

#include "common/line_reader.h"
#include "fcgi-app/http/answer.h"

bool partial_lines_read(struct request *request, const struct json_body *body, int64_t *partial_ms)
{
    *partial_ms = LINE_PATIENCE_NONE;
    if (json_is_given(body, "partial_ms")) {
        *partial_ms = (int64_t)json_count(body, "partial_ms", 0);
    }
    if (*partial_ms > PARTIAL_MAX_MS) {
        answer_error(request, 400, ERROR_invalid_request, "partial_ms must be at most %d",
                     PARTIAL_MAX_MS);
        return false;
    }
    return true;
}

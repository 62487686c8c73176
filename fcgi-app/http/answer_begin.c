/*
 * Without printf(3), which would take a tenth of the time that a short answer does.
 */
#include "fcgi-app/http/answer_begin.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "api/statuses.h"
#include "common/decimal.h"

char *answer_begin_render(char begin[ANSWER_BEGIN_SIZE], int status, const char *content_type)
{
    unsigned index = api_status_index(status);
    const char *reason = index < API_STATUS_COUNT ? api_statuses[index].reason : "Error";
    char *end = begin;
    if (content_type != NULL) {
        if (strlen(content_type) > CONTENT_TYPE_MOST) {
            return NULL;
        }
        end = stpcpy(stpcpy(stpcpy(end, "Content-Type: "), content_type), "\r\n");
    }
    end = stpcpy(end, "Status: ");
    end += decimal_render(end, (uint64_t)status);
    return stpcpy(stpcpy(stpcpy(end, " "), reason), "\r\n");
}

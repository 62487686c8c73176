#include "fcgi-app/uploads/upload_answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/http_date.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/uploads/upload_session.h"

#define CONTENT_TYPE_OF_BYTES "application/offset+octet-stream"

bool upload_number_read(const char *text, uint64_t *number)
{
    errno = 0;
    *number = strtoull(text, NULL, 10);
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0' && errno == 0 &&
           *number <= INT64_MAX;
}

bool upload_has_content_type(const struct request *request)
{
    const char *type = request_param(request, "CONTENT_TYPE");
    size_t length = strlen(CONTENT_TYPE_OF_BYTES);
    return strncasecmp(type, CONTENT_TYPE_OF_BYTES, length) == 0 &&
           (type[length] == '\0' || type[length] == ';' || type[length] == ' ');
}

void upload_refuse_content_type(struct request *request)
{
    answer_error(request, 415, ERROR_unsupported,
                 "The Content-Type of a piece must be " CONTENT_TYPE_OF_BYTES);
}

void upload_answer(struct request *request, int status, const struct upload_session *session,
                   const char *collection)
{
    const struct upload_record *record = &session->record;
    char headers[512], date[HTTP_DATE_SIZE];
    int length = snprintf(headers, sizeof(headers),
                          "Upload-Offset: %" PRIu64 "\r\nCache-Control: no-store\r\n%s",
                          session->offset, status == 204 ? "" : "Content-Length: 0\r\n");
    size_t used = (size_t)length;
    if (!record->is_done) {
        length = snprintf(headers + used, sizeof(headers) - used, "Upload-Expires: %s\r\n",
                          http_date_format(record->expires, date));
        used += (size_t)length;
    }
    if (collection != NULL) {
        (void)snprintf(headers + used, sizeof(headers) - used, "Location: %s%s\r\n",
                       *collection == '\0' ? "uploads/" : "", record->id);
    }
    (void)request_begin(request, status, NULL, headers);
}

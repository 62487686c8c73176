#include "fcgi-app/files/raw_path.h"

#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/query.h"
#include "fcgi-app/http/request.h"

bool raw_path_goes_up(const char *path)
{
    for (const char *at = path; (at = strstr(at, "/..")) != NULL; at += 3) {
        if (at[3] == '/' || at[3] == '\0') {
            return true;
        }
    }
    return false;
}

char *raw_path_of(struct request *request)
{
    const char *raw = request_param(request, "RAW_PATH");
    if (*raw == '\0' && strcmp(request_path(request), "/files") != 0) {
        answer_error(request, 404, ERROR_not_found, "Not found: the path must begin with /files/");
        return NULL;
    }
    cleanup_free char *path = strdup(*raw == '\0' ? "/" : raw);
    if (path == NULL) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return NULL;
    }
    (void)percent_decode_all(path); /* nginx refuses %00 */
    if (raw_path_goes_up(path)) {
        answer_error(request, 400, ERROR_invalid_path, "A path must not contain ..");
        return NULL;
    }
    return steal_pointer(path);
}

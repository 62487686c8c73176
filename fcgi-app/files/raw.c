/*
 * /files/<absolute path>: a file's bytes as they are, without JSON around them. A file for each
 * method; what they share is in raw_answer.h.
 */
#include <stdbool.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/files/archive_get.h"
#include "fcgi-app/files/archive_put.h"
#include "fcgi-app/files/raw_delete.h"
#include "fcgi-app/files/raw_get.h"
#include "fcgi-app/files/raw_path.h"
#include "fcgi-app/files/raw_put.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/request.h"

static void handle_files(struct request *request, const struct json_body *query)
{
    cleanup_free char *path = raw_path_of(request);
    const char *method = request_method(request);
    if (path == NULL) {
        return;
    }
    bool is_archive = json_text(query, "archive") != NULL;
    if (strcmp(method, "PUT") == 0 && is_archive) {
        archive_put(request, query, path);
    } else if (strcmp(method, "PUT") == 0) {
        raw_put(request, query, path);
    } else if (strcmp(method, "DELETE") == 0) {
        raw_delete(request, query, path);
    } else if (is_archive) {
        archive_get(request, query, path);
    } else {
        raw_get(request, query, path);
    }
}

static const struct json_member files_members[] = {
    {JSON_MEMBER("download", FLAG, "GET: a browser saves the file instead of showing it.")},
    {JSON_MEMBER("archive", TEXT, "The tree beneath a directory: tar, tar.gz or tar.zst.")},
    {JSON_MEMBER("include", TEXT,
                 "GET of an archive: only what matches this glob. It may come more than once.")},
    {JSON_MEMBER("exclude", TEXT,
                 "GET of an archive: nothing that matches this glob. It may come more than once.")},
    {JSON_MEMBER("parents", FLAG, "PUT: makes the directories of the path that are missing.")},
    {JSON_MEMBER("mode", TEXT, "PUT: the mode of the file, in octal.")},
    {JSON_MEMBER("mtime", TEXT, "PUT: when it was changed last, in seconds since 1970.")},
    {JSON_MEMBER("recursive", FLAG, "DELETE: a directory with everything in it.")},
};
const struct endpoint files_endpoint = {
    API_ROW(files),
    .about = "A file as it is: read, written or removed without JSON around it.",
    MEMBERS(files_members),
    .handle = handle_files,
};

/*
 * POST /write_file. Large content that comes after the path is written as it arrives, into a file
 * that is nobody's until all of the request is there.
 */
#include <stddef.h>

#include "fcgi-app/files/content.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/files/write_content.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"

static void handle_write_file(struct request *request, const struct json_body *body)
{
    struct fs_error error;
    if (write_content_check(body, &error) != 0) {
        answer_failure(request, 400, error.code, "%s", error.message);
    } else if (write_content(body, &error) != 0) {
        answer_failure(request, 200, error.code, "%s", error.message);
    } else {
        answer_success(request);
    }
}

/* A file for text. Base64 waits in the body. */
static int open_early(const struct json_body *body)
{
    return write_content_is_text(body) ? fs_write_early(requested_path(body)) : -1;
}

static const struct json_member write_members[] = {
    {JSON_MEMBER("path", TEXT, "The file to write."), .required = true},
    {JSON_MEMBER("content", CONTENT, "Its content; without it the file is empty."),
     .early = open_early},
    CODING_MEMBERS,
};
const struct endpoint write_file_endpoint = {
    API_ROW(write_file),         .about = "Writes a file, whole or not at all.",
    MEMBERS(write_members),      .flags = JSON_ANSWER_FAILURE,
    .handle = handle_write_file,
};

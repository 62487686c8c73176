/*
 * POST /write_file. Content in base64 is decoded twice: first to see that it is base64 to its end,
 * so that a mistake in it changes nothing.
 */
#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/files/base64.h"
#include "fcgi-app/files/content.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"

#define DECODE_SIZE 4096 /* characters of base64 decoded at once */

struct writing {
    struct fs_writer *writer; /* NULL: the content is only checked */
    struct base64_decoder decoder;
    struct fs_error error;
};

static int write_piece(void *context, const char *data, size_t length)
{
    struct writing *writing = context;
    return fs_write_data(writing->writer, data, length, &writing->error);
}

static int write_base64_piece(void *context, const char *data, size_t length)
{
    struct writing *writing = context;
    char decoded[BASE64_DECODED_MAX(DECODE_SIZE)];
    for (size_t step; length > 0; data += step, length -= step) {
        step = length < DECODE_SIZE ? length : DECODE_SIZE;
        ssize_t size = base64_decode(&writing->decoder, data, step, decoded);
        if (size < 0 ||
            (writing->writer != NULL && write_piece(writing, decoded, (size_t)size) != 0)) {
            return -1;
        }
    }
    return 0;
}

/* Whether the content is base64 to its end, before anything is done with it. If not the request has
 * been answered. */
static bool check_base64(struct request *request, const struct json_body *body)
{
    struct writing checking = {.writer = NULL};
    if (json_content(body, "content", write_base64_piece, &checking) != 0) {
        answer_failure(request, 400, ERROR_invalid_request,
                       "content is not base64: character %llu has no place there",
                       (unsigned long long)checking.decoder.taken + 1);
        return false;
    }
    if (base64_decode_end(&checking.decoder) != 0) {
        answer_failure(request, 400, ERROR_invalid_request,
                       "content is not base64: it ends within a group of four");
        return false;
    }
    return true;
}

static void write_content(struct request *request, const struct json_body *body, bool is_base64)
{
    struct writing writing = {.writer = NULL};
    writing.writer = fs_write_begin(requested_path(body), &writing.error);
    if (writing.writer != NULL &&
        json_content(body, "content", is_base64 ? write_base64_piece : write_piece, &writing) !=
            0) {
        fs_write_cancel(writing.writer);
        writing.writer = NULL;
    }
    if (writing.writer == NULL || fs_write_commit(writing.writer, &writing.error) != 0) {
        answer_failure(request, 200, writing.error.code, "%s", writing.error.message);
        return;
    }
    answer_success(request);
}

static void handle_write_file(struct request *request, const struct json_body *body)
{
    enum coding coding;
    const char *fault = coding_read(body, &coding);
    if (fault != NULL) {
        answer_failure(request, 400, ERROR_invalid_request, "%s", fault);
    } else if (coding != CODING_BASE64 || check_base64(request, body)) {
        write_content(request, body, coding == CODING_BASE64);
    }
}

static const struct json_member write_members[] = {
    {JSON_MEMBER("path", TEXT, "The file to write."), .required = true},
    {JSON_MEMBER("content", CONTENT, "Its content; without it the file is empty.")},
    CODING_MEMBERS,
};
const struct endpoint write_file_endpoint = {
    API_ROW(write_file),         .about = "Writes a file, whole or not at all.",
    MEMBERS(write_members),      .flags = JSON_ANSWER_FAILURE,
    .handle = handle_write_file,
};

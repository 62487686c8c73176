/*
 * POST /write_file. Large content that comes after the path is written as it arrives, into a file
 * that is nobody's until all of the request is there. Content in base64 is decoded twice: first to
 * see that it is base64 to its end, so that a mistake in it changes nothing.
 */
#include <errno.h>
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
    int failure;
    (void)json_content_file(body, &failure);
    if (failure == 0 && json_content(body, "content", write_base64_piece, &checking) != 0) {
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

/* 0, or -1 with the error. */
static int put_content(struct writing *writing, const struct json_body *body, bool is_base64)
{
    int failure, early = json_content_file(body, &failure);
    if (failure != 0) {
        return fs_fail(&writing->error, failure, "write", requested_path(body));
    }
    if (early >= 0 && !is_base64 && fs_write_adopt(writing->writer, early)) {
        return 0;
    }
    (void)fs_fail(&writing->error, EIO, "read", "content"); /* unless writing it fails */
    return json_content(body, "content", is_base64 ? write_base64_piece : write_piece, writing);
}

static void write_content(struct request *request, const struct json_body *body, bool is_base64)
{
    struct writing writing = {.writer = NULL};
    writing.writer = fs_write_begin(requested_path(body), &writing.error);
    if (writing.writer != NULL && put_content(&writing, body, is_base64) != 0) {
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

/* A file for text. Base64 waits in the body. */
static int open_early(const struct json_body *body)
{
    enum coding coding;
    bool is_text = coding_read(body, &coding) == NULL && coding != CODING_BASE64;
    return is_text ? fs_write_early(requested_path(body)) : -1;
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

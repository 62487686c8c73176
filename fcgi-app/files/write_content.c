/*
 * Content in base64 is decoded twice: first to see that it is base64 to its end, so that a mistake
 * in it changes nothing.
 */
#include "fcgi-app/files/write_content.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "fcgi-app/files/base64.h"
#include "fcgi-app/files/content.h"
#include "fcgi-app/files/requested_path.h"

#define DECODE_SIZE 4096            /* characters of base64 decoded at once */
#define SMALL_SIZE  ((size_t)65536) /* content with less is written at once */

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

__attribute__((format(printf, 2, 3))) static int refuse_content(struct fs_error *error,
                                                                const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error->code = ERROR_invalid_request;
    (void)vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
    return -1;
}

/* Whether the content is base64 to its end, before anything is done with it. */
static int check_base64(const struct json_body *body, struct fs_error *error)
{
    struct writing checking = {.writer = NULL};
    int failure;
    (void)json_content_file(body, &failure);
    if (failure == 0 && json_content(body, "content", write_base64_piece, &checking) != 0) {
        return refuse_content(error, "content is not base64: character %llu has no place there",
                              (unsigned long long)checking.decoder.taken + 1);
    }
    if (base64_decode_end(&checking.decoder) != 0) {
        return refuse_content(error, "content is not base64: it ends within a group of four");
    }
    return 0;
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

int write_content_check(const struct json_body *body, struct fs_error *error)
{
    enum coding coding;
    const char *fault = coding_read(body, &coding);
    if (fault != NULL) {
        return refuse_content(error, "%s", fault);
    }
    return coding == CODING_BASE64 ? check_base64(body, error) : 0;
}

bool write_content_is_text(const struct json_body *body)
{
    enum coding coding;
    return coding_read(body, &coding) == NULL && coding != CODING_BASE64;
}

static struct fs_writer *begin_content(const struct json_body *body, struct fs_error *error)
{
    const char *path = requested_path(body);
    bool is_small = json_content_size(body, "content") < SMALL_SIZE;
    struct fs_writer *writer = is_small ? fs_write_begin_direct(path) : NULL;
    return writer != NULL ? writer : fs_write_begin(path, error);
}

int write_content(const struct json_body *body, struct fs_error *error)
{
    bool is_base64 = !write_content_is_text(body);
    struct writing writing = {.writer = NULL};
    writing.writer = begin_content(body, &writing.error);
    if (writing.writer != NULL && put_content(&writing, body, is_base64) != 0) {
        fs_write_cancel(writing.writer);
        writing.writer = NULL;
    }
    if (writing.writer == NULL || fs_write_commit(writing.writer, &writing.error) != 0) {
        *error = writing.error;
        return -1;
    }
    return 0;
}

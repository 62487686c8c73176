/*
 * POST /read_files and /write_files: several files in one request, with a result each. The results
 * stream, so neither many files nor large ones need memory.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/json_text.h"
#include "fcgi-app/files/base64.h"
#include "fcgi-app/files/content.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/name_text.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/files/write_content.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/http/writer.h"

#define PIECE_SIZE ((size_t)48 << 10) /* of a file: whole groups of base64 */

/* The files of a request, one after the other. */
struct many_files {
    struct request *request;
    const struct json_body *body;
    size_t count; /* of those that are done */
    char *piece;  /* PIECE_SIZE bytes */
    struct writer answer;
    bool is_refused; /* the request has been answered with 400 */
};

static void many_files_clear(struct many_files *files)
{
    free(files->piece);
    writer_clear(&files->answer);
}

/* 0, or -1 when it has been answered that memory is out. */
static int many_files_init(struct many_files *files, struct request *request,
                           const struct json_body *body)
{
    *files = (struct many_files){.request = request, .body = body, .piece = malloc(PIECE_SIZE)};
    if (files->piece == NULL ||
        writer_init(&files->answer, request, JSON_ESCAPED_MAX(PIECE_SIZE), false) != 0) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return -1;
    }
    return 0;
}

/* ---- what is common to the results ---- */

static void begin_result(struct many_files *files, const char *path)
{
    (void)writer_string(&files->answer, files->count++ == 0 ? "{\"results\":[{" : ",{");
    (void)name_text_write(&files->answer, "path", path, strlen(path));
}

static void write_error(struct writer *answer, const struct fs_error *error)
{
    (void)writer_string(answer, ",\"error\":\"");
    (void)writer_text(answer, error->message, strlen(error->message));
    (void)writer_format(answer, "\",\"error_code\":\"%s\"", api_error_code(error->code));
}

static void finish_results(struct many_files *files)
{
    (void)writer_string(&files->answer, files->count == 0 ? "{\"results\":[]}" : "]}");
    (void)writer_finish(&files->answer);
}

/* Calls `take` for each element of the array. */
static void for_each(struct many_files *files, const char *member, json_member_function *take)
{
    struct json_scan_error error;
    struct json_span list = json_list(files->body, member);
    if (list.length > 0) {
        (void)json_scan_array(list.data, list.length, take, files, &error);
    }
}

__attribute__((format(printf, 2, 3))) static bool refuse_element(struct many_files *files,
                                                                 const char *format, ...)
{
    char message[640];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    answer_error(files->request, 400, ERROR_invalid_request, "%s", message);
    files->is_refused = true;
    return false;
}

/* ---- reading ---- */

/* What one read gives, for a file whose size was `left`: whole pieces, but for the last. The count,
 * or -1 with errno. */
static ssize_t read_whole_piece(int fd, char *piece, uint64_t *left)
{
    size_t wanted = *left < PIECE_SIZE ? (size_t)*left : PIECE_SIZE;
    ssize_t got = io_read_full(fd, piece, wanted);
    *left -= got < 0 ? 0 : (uint64_t)got;
    return got;
}

static void write_encoded(struct writer *answer, const char *data, size_t length)
{
    char text[BASE64_ENCODED_MAX(3072)];
    for (size_t step; length > 0; data += step, length -= step) {
        step = length < 3072 ? length : 3072;
        (void)writer_raw(answer, text, base64_encode(data, step, text));
    }
}

/* The content of a file of which the first piece has been read. 0, or -1 with errno. */
static int write_pieces(struct many_files *files, int fd, ssize_t got, uint64_t left,
                        bool is_base64)
{
    struct writer *answer = &files->answer;
    while (got > 0 && !answer->failed) {
        if (is_base64) {
            write_encoded(answer, files->piece, (size_t)got);
        } else {
            (void)writer_piece(answer, files->piece, (size_t)got);
        }
        got = left == 0 ? 0 : read_whole_piece(fd, files->piece, &left);
    }
    return got < 0 ? -1 : 0;
}

static int write_file_content(struct many_files *files, int fd, uint64_t size)
{
    struct writer *answer = &files->answer;
    uint64_t left = size == 0 ? UINT64_MAX : size; /* a file of /proc has no size */
    ssize_t got = read_whole_piece(fd, files->piece, &left);
    if (got < 0) {
        return -1;
    }
    bool is_base64 = coding_is_of_bytes(files->piece, (size_t)got);
    answer->replaced = false;
    (void)writer_string(answer, ",\"content\":\"");
    int result = write_pieces(files, fd, got, left, is_base64);
    int number = errno;
    (void)writer_piece_end(answer);
    (void)writer_string(answer, is_base64          ? "\",\"is_base64\":true"
                                : answer->replaced ? "\",\"is_utf8\":false"
                                                   : "\"");
    errno = number;
    return result;
}

/* An element of paths, which the caller frees; NULL when memory is out. */
static char *decode_path(struct json_span value, size_t *length)
{
    char *path = malloc(value.length + 5);
    if (path != NULL) {
        *length = json_decode(&value, path, value.length + 4);
        path[*length] = '\0';
    }
    return path;
}

static bool read_one(void *context, struct json_span name, enum json_type type,
                     struct json_span value)
{
    (void)name;
    (void)type;
    struct many_files *files = context;
    struct fs_error error;
    struct stat status;
    size_t length;
    cleanup_free char *path = decode_path(value, &length);
    if (path == NULL) {
        return false;
    }
    begin_result(files, path);
    cleanup_fd int fd = fs_open(requested_path_begin(path), &status, &error);
    if (fd < 0) {
        write_error(&files->answer, &error);
    } else if (write_file_content(files, fd, (uint64_t)status.st_size) != 0) {
        (void)fs_fail(&error, errno, "read", path);
        write_error(&files->answer, &error);
    }
    return writer_string(&files->answer, "}") == 0 && !is_stopping();
}

/* Always false. */
static bool refuse_for_memory(struct many_files *files)
{
    answer_error(files->request, 503, ERROR_unavailable, "Out of memory");
    files->is_refused = true;
    return false;
}

/* Nothing is read before all elements are paths. */
static bool check_path(void *context, struct json_span name, enum json_type type,
                       struct json_span value)
{
    (void)name;
    struct many_files *files = context;
    if (type != JSON_TYPE_STRING || value.length == 0) {
        return refuse_element(files, "paths[%zu] must be a string that is not empty", files->count);
    }
    size_t length;
    cleanup_free char *path = decode_path(value, &length);
    if (path == NULL) {
        return refuse_for_memory(files);
    }
    if (json_has_lone_surrogate(value) || strlen(path) != length) {
        return refuse_element(files, "paths[%zu] contains a NUL or a lone surrogate", files->count);
    }
    files->count++;
    return true;
}

static void handle_read_files(struct request *request, const struct json_body *body)
{
    cleanup_(many_files_clear) struct many_files files;
    if (many_files_init(&files, request, body) != 0) {
        return;
    }
    for_each(&files, "paths", check_path);
    size_t count = files.count;
    files.count = 0;
    if (files.is_refused) {
        return;
    }
    for_each(&files, "paths", read_one);
    if (files.count < count && files.answer.begun) {
        request_abort(request);
    } else if (files.count < count) {
        answer_stopping(request); /* or the client has left */
    } else {
        finish_results(&files);
    }
}

static const struct json_member read_files_members[] = {
    {JSON_MEMBER("paths", LIST, "The paths of the files."), .required = true},
};
const struct endpoint read_files_endpoint = {
    API_ROW(read_files),
    .about = "Reads several files, each as /read_file does.",
    MEMBERS(read_files_members),
    .handle = handle_read_files,
};

/* ---- writing ---- */

static const struct json_member file_members[] = {
    {JSON_MEMBER("path", TEXT, "The file to write."), .required = true},
    {JSON_MEMBER("content", CONTENT, "Its content; without it the file is empty.")},
    CODING_MEMBERS,
};
#define FILE_MEMBERS (sizeof(file_members) / sizeof(file_members[0]))

/* Nothing is written before all elements are files. */
static bool check_file_element(void *context, struct json_span name, enum json_type type,
                               struct json_span value)
{
    (void)name;
    struct many_files *files = context;
    if (type != JSON_TYPE_OBJECT) {
        return refuse_element(files, "files[%zu] must be an object", files->count);
    }
    cleanup_(json_freep) struct json_body *item =
        json_item(files->body, value, file_members, FILE_MEMBERS);
    if (item == NULL || item->refusal.status == 500) {
        return refuse_for_memory(files);
    }
    if (item->refusal.status != 0) {
        return refuse_element(files, "files[%zu]: %s", files->count, item->refusal.message);
    }
    files->count++;
    return true;
}

/* A client that has left does not keep the rest from being written. */
static bool write_one(void *context, struct json_span name, enum json_type type,
                      struct json_span value)
{
    (void)name;
    (void)type;
    struct many_files *files = context;
    struct fs_error error;
    cleanup_(json_freep) struct json_body *item =
        json_item(files->body, value, file_members, FILE_MEMBERS);
    const char *path = item == NULL ? "" : json_text(item, "path");
    begin_result(files, path == NULL ? "" : path);
    bool written = false;
    if (path == NULL || *path == '\0') {
        (void)fs_fail(&error, ENOMEM, "write", "file");
    } else {
        written = write_content_check(item, &error) == 0 && write_content(item, &error) == 0;
    }
    (void)writer_string(&files->answer, written ? ",\"success\":true" : ",\"success\":false");
    if (!written) {
        write_error(&files->answer, &error);
    }
    (void)writer_string(&files->answer, "}");
    return true;
}

static void handle_write_files(struct request *request, const struct json_body *body)
{
    cleanup_(many_files_clear) struct many_files files;
    if (many_files_init(&files, request, body) != 0) {
        return;
    }
    for_each(&files, "files", check_file_element);
    files.count = 0;
    if (!files.is_refused) {
        for_each(&files, "files", write_one);
        finish_results(&files);
    }
}

static const struct json_member write_files_members[] = {
    {JSON_MEMBER("files", LIST, "Objects with the members of /write_file."), .required = true},
};
const struct endpoint write_files_endpoint = {
    API_ROW(write_files),
    .about = "Writes several files, each whole or not at all.",
    MEMBERS(write_files_members),
    .handle = handle_write_files,
};

/*
 * GET and HEAD of /files. A file whose size is known is sent by the kernel, from the file into the
 * connection. What has no size is read to its end, and has no Content-Length.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/decimal.h"
#include "common/io.h"
#include "fcgi-app/files/disposition.h"
#include "fcgi-app/files/fs_path.h"
#include "fcgi-app/files/list_dir.h"
#include "fcgi-app/files/mime_types.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_get.h"
#include "fcgi-app/files/raw_state.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/byte_range.h"
#include "fcgi-app/http/conditions.h"
#include "fcgi-app/http/http_date.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"

#define HEADERS_SIZE (DISPOSITION_SIZE + 768)
#define PIECE_SIZE   ((size_t)65536) /* of what has no size */

/* A file on its way into an answer. */
struct sending {
    struct request *request; /* borrowed, as the others */
    const struct json_body *query;
    const char *path;
    struct served_file file;
    char etag[RAW_ETAG_SIZE]; /* "": it has none */
    char *piece;              /* the beginning of what has no size, owned */
    ssize_t piece_length;
};

static void sending_clear(struct sending *sending)
{
    free(sending->piece);
    close_fd(&sending->file.fd);
}

/* ---- headers ---- */

/* The headers that every answer about a file has. Returns their end. */
static char *make_headers(const struct sending *sending, char headers[HEADERS_SIZE])
{
    char date[HTTP_DATE_SIZE];
    char *end = headers;
    if (sending->etag[0] != '\0') {
        end = stpcpy(stpcpy(end, "ETag: "), sending->etag);
        end = stpcpy(stpcpy(end, "\r\nLast-Modified: "),
                     http_date_format(sending->file.status.st_mtim.tv_sec, date));
        end = stpcpy(end, "\r\nAccept-Ranges: bytes\r\n");
    }
    end = stpcpy(end, "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
                      "Content-Security-Policy: sandbox; default-src 'none'\r\n");
    if (json_flag(sending->query, "download")) {
        size_t name_length;
        const char *name = fs_name(sending->path, &name_length);
        (void)disposition_header(end, name, name_length, "");
        end += strlen(end);
    }
    return end;
}

/* Returns the end of the header. */
static char *add_length(char *end, uint64_t length)
{
    end = stpcpy(end, "Content-Length: ");
    end += decimal_render(end, length);
    return stpcpy(end, "\r\n");
}

static const char *content_type(const struct sending *sending)
{
    size_t length;
    const char *name = fs_name(sending->path, &length);
    return mime_type_of(name, length);
}

/* ---- a file with a size ---- */

/* Sends a part in one write with its header, if it is that small: there is nothing then that a
 * client could see of a file that has become shorter. */
static void send_at_once(const struct sending *sending, int status, const char *headers,
                         const struct byte_range *range)
{
    char content[ANSWER_AT_ONCE];
    size_t length = (size_t)range->length;
    ssize_t got = 0;
    for (size_t done = 0; done < length; done += (size_t)got) {
        got = io_read_at(sending->file.fd, content + done, length - done,
                         (off_t)(range->first + done));
        if (got <= 0) {
            answer_error(sending->request, 503, ERROR_unavailable,
                         "The file changed while it was read");
            return;
        }
    }
    if (request_begin(sending->request, status, content_type(sending), headers) == 0 &&
        request_write(sending->request, content, length) == 0) {
        metrics_transferred(TRANSFER_OUT, length);
    }
}

static void send_part(const struct sending *sending, int status, const char *headers,
                      const struct byte_range *range)
{
    struct request *request = sending->request;
    bool is_head = strcmp(request_method(request), "HEAD") == 0;
    if (!is_head && range->length <= ANSWER_AT_ONCE) {
        send_at_once(sending, status, headers, range);
    } else if (request_begin(request, status, content_type(sending), headers) == 0 && !is_head) {
        (void)request_write_file(request, sending->file.fd, (off_t)range->first, range->length);
    }
}

static void send_file(const struct sending *sending, const struct validators *current)
{
    char headers[HEADERS_SIZE];
    struct request *request = sending->request;
    uint64_t size = (uint64_t)sending->file.status.st_size;
    struct byte_range range = {.first = 0, .length = size};
    enum range_kind kind = RANGE_WHOLE;
    if (strcmp(request_method(request), "GET") == 0 && conditions_allow_range(request, current)) {
        kind = byte_range_read(request_param(request, "HTTP_RANGE"), size, &range);
    }
    if (kind == RANGE_UNSATISFIABLE) {
        (void)snprintf(headers, sizeof(headers), "Content-Range: bytes */%llu\r\n",
                       (unsigned long long)size);
        answer_error_with(request, 416, ERROR_invalid_request, headers, 0,
                          "The range begins behind the end of the file, which has %llu bytes",
                          (unsigned long long)size);
        return;
    }
    char *end = add_length(make_headers(sending, headers), range.length);
    if (kind == RANGE_PART) {
        (void)snprintf(end, (size_t)(headers + sizeof(headers) - end),
                       "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)range.first,
                       (unsigned long long)(range.first + range.length - 1),
                       (unsigned long long)size);
    }
    send_part(sending, kind == RANGE_PART ? 206 : 200, headers, &range);
}

/* ---- a file without one ---- */

/* Reads the beginning of a file without a size. What is empty has a size, after all. 0, or -1 with
 * errno. */
static int begin_unsized(struct sending *sending)
{
    sending->piece = malloc(PIECE_SIZE);
    if (sending->piece == NULL) {
        return -1;
    }
    sending->piece_length = io_read_some(sending->file.fd, sending->piece, PIECE_SIZE);
    sending->file.has_size = sending->piece_length == 0 && sending->file.status.st_size == 0;
    return sending->piece_length < 0 ? -1 : 0;
}

/* Sends it to its end. */
static void stream_file(const struct sending *sending)
{
    char headers[HEADERS_SIZE];
    struct request *request = sending->request;
    ssize_t got = sending->piece_length;
    (void)make_headers(sending, headers);
    if (request_begin(request, 200, content_type(sending), headers) != 0 ||
        strcmp(request_method(request), "HEAD") == 0) {
        return;
    }
    while (got > 0) {
        if (request_write(request, sending->piece, (size_t)got) != 0 ||
            request_flush(request) != 0) {
            return;
        }
        metrics_transferred(TRANSFER_OUT, (uint64_t)got);
        got = io_read_some(sending->file.fd, sending->piece, PIECE_SIZE);
    }
    /* /proc/kmsg and its like would wait for more: what they had is all there is now */
    if (got < 0 && errno != EAGAIN) {
        request_abort(request);
    }
}

/* ---- the request ---- */

/* Whether the conditions hold; if not the request has been answered. */
static bool check_conditions(const struct sending *sending, const struct validators *current)
{
    char headers[HEADERS_SIZE];
    switch (conditions_check(sending->request, current)) {
    case CONDITIONS_NOT_MODIFIED:
        (void)make_headers(sending, headers);
        (void)request_begin(sending->request, 304, NULL, headers);
        return false;
    case CONDITIONS_FAIL: raw_refuse_state(sending->request, sending->path); return false;
    case CONDITIONS_HOLD: break;
    }
    return true;
}

void raw_get(struct request *request, const struct json_body *query, const char *path)
{
    struct fs_error error;
    cleanup_(sending_clear) struct sending sending = {
        .request = request, .query = query, .path = path};
    if (served_file_open(&sending.file, path, &error) != 0) {
        raw_refuse(request, &error);
        return;
    }
    if (sending.file.fd >= 0 && !sending.file.has_size && begin_unsized(&sending) != 0) {
        (void)fs_fail(&error, errno, "read", path);
        raw_refuse(request, &error);
        return;
    }
    struct validators current = {.etag = ""};
    if (sending.file.has_size) {
        current = raw_validators(&sending.file.status, sending.etag);
    }
    if (!check_conditions(&sending, &current)) {
        return;
    }
    if (sending.file.fd < 0) {
        list_dir_answer(request, path, raw_status);
    } else if (sending.file.has_size) {
        send_file(&sending, &current);
    } else {
        stream_file(&sending);
    }
}

/*
 * PUT of /files. The body goes to a file beside the target as it comes (fs_write.c), and that takes
 * the target's name at the end: after the digest, the length and the conditions were looked at
 * again. Until then nothing has changed. A small body comes first, and is written at once.
 */
#include "fcgi-app/files/raw_put.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "fcgi-app/files/body_digest.h"
#include "fcgi-app/files/file_turn.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_limits.h"
#include "fcgi-app/files/raw_state.h"
#include "fcgi-app/files/raw_wish.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/body_parts.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"

#define BUFFER_SIZE ((size_t)262144) /* of a body: as much as nginx sends at once */
#define SMALL_SIZE  ((size_t)65536)  /* a body with less comes before its file is opened */

/* A body on its way into a file. */
struct upload {
    struct request *request; /* borrowed, as the path */
    const char *path;
    uint64_t announced; /* by Content-Range; UINT64_MAX: not at all */
    uint64_t received;
    uint64_t room_at; /* look at the disk again when so much has come */
    struct fs_wish wish;
    struct body_digest digest;
    struct fs_writer *writer;
    bool was_copied;          /* the file, when it was opened: see raw_state_is_copied_up() */
    char etag[RAW_ETAG_SIZE]; /* what it had then */
    char *buffer;             /* owned */
};

static void upload_clear(struct upload *upload)
{
    fs_write_cancel(upload->writer);
    free(upload->buffer);
}

/* ---- what the client wants ---- */

/* 0, or -1 when it has been answered that the request is wrong. */
static int refuse_request(const struct upload *upload, const char *what)
{
    answer_error(upload->request, 400, ERROR_invalid_request, "%s", what);
    return -1;
}

/* Content-Range may only say that it is all of the file. */
static int read_content_range(struct upload *upload)
{
    const char *text = request_param(upload->request, "HTTP_CONTENT_RANGE");
    unsigned long long first = 0, last = 0, size = 0;
    int used = 0;
    upload->announced = UINT64_MAX;
    if (*text == '\0') {
        return 0;
    }
    /* NOLINTNEXTLINE(cert-err34-c): a number that is too large is none of the others */
    if (sscanf(text, "bytes %llu-%llu/%llu%n", &first, &last, &size, &used) != 3 ||
        text[used] != '\0' || first != 0 || size == 0 || last != size - 1) {
        return refuse_request(upload, "Content-Range must be all of the file, as in bytes 0-9/10: "
                                      "a part cannot be put, but uploaded to /uploads");
    }
    upload->announced = size;
    return 0;
}

/* 0, or -1 when the request has been answered. */
static int read_wishes(struct upload *upload, const struct json_body *query)
{
    if (raw_check_coding(upload->request) != 0) {
        return -1;
    }
    const char *fault = body_digest_begin(&upload->digest, upload->request);
    if (fault != NULL) {
        return refuse_request(upload, fault);
    }
    fault = raw_wish_read(&upload->wish, json_text(query, "mode"), json_text(query, "mtime"));
    return fault != NULL ? refuse_request(upload, fault) : read_content_range(upload);
}

/* ---- before the body ---- */

static int refuse_upload(const struct upload *upload, const struct fs_error *error)
{
    raw_refuse_write(upload->request, error);
    return -1;
}

/* Whether the disk has room for `more` bytes; if not the request has been answered. */
static int check_room(struct upload *upload, uint64_t more)
{
    upload->room_at = upload->received + RAW_ROOM_EVERY;
    return raw_limits_check_room(upload->request, upload->path, fs_write_room(upload->writer),
                                 more);
}

/* A writer for any target that a client may write. 0, or -1 when it has been answered. */
static int begin_writer(struct upload *upload, const struct json_body *query)
{
    struct fs_error error;
    if (json_flag(query, "parents") && fs_make_parents(upload->path, &error) != 0) {
        return refuse_upload(upload, &error);
    }
    upload->writer = fs_write_begin(upload->path, &error);
    return upload->writer != NULL ? 0 : refuse_upload(upload, &error);
}

/* Opens the file of a request with conditions, which hold. 0, or -1 when it has been answered. */
static int begin_conditional_writer(struct upload *upload, const struct json_body *query)
{
    struct stat before, after;
    bool is_there = stat(upload->path, &before) == 0;
    if (!raw_state_holds(upload->request, upload->path) || begin_writer(upload, query) != 0) {
        return -1;
    }
    upload->was_copied = is_there && stat(upload->path, &after) == 0 &&
                         raw_state_is_copied_up(upload->path, &before, &after);
    if (upload->was_copied) {
        (void)raw_etag(&after, upload->etag);
    }
    return 0;
}

/* `length` is that of the body, as far as it is known. */
static int open_upload(struct upload *upload, const struct json_body *query, uint64_t length,
                       bool direct)
{
    struct fs_error error;
    const bool is_conditional = raw_state_is_asked(upload->request);
    upload->writer = direct && !is_conditional ? fs_write_begin_direct(upload->path) : NULL;
    if (upload->writer == NULL && served_file_check(upload->path, 0, "write", &error) != 0) {
        return refuse_upload(upload, &error);
    }
    if (upload->writer == NULL &&
        (is_conditional ? begin_conditional_writer : begin_writer)(upload, query) != 0) {
        return -1;
    }
    return check_room(upload, length);
}

/* ---- the body ---- */

static int take_piece(struct upload *upload, const char *piece, size_t length)
{
    struct fs_error error;
    upload->received += length;
    metrics_transferred(TRANSFER_IN, length);
    if (raw_limits_check_size(upload->request, upload->received) != 0) {
        return -1;
    }
    body_digest_add(&upload->digest, piece, length);
    if (fs_write_data(upload->writer, piece, length, &error) != 0) {
        return refuse_upload(upload, &error);
    }
    return upload->received < upload->room_at ? 0 : check_room(upload, 0);
}

/* Takes a body into a file that is open. */
static int receive_pieces(struct upload *upload)
{
    ssize_t got;
    struct body_parts parts;
    while ((got = request_read_parts(upload->request, upload->buffer, BUFFER_SIZE, &parts)) > 0) {
        for (size_t i = 0; i < parts.count; i++) {
            if (take_piece(upload, parts.part[i].data, parts.part[i].length) != 0) {
                return -1;
            }
        }
    }
    return got < 0 ? -1 : 0; /* cut: no one waits for an answer */
}

/* Takes a small body, before its file is opened. `room` is that of the buffer: a byte more than the
 * body has, for which its end is read. */
static int receive_small(struct upload *upload, const struct json_body *query, size_t room)
{
    ssize_t got;
    size_t length = 0;
    while ((got = request_read(upload->request, upload->buffer + length, room - length)) > 0) {
        length += (size_t)got;
    }
    if (got < 0 || open_upload(upload, query, length, true) != 0) {
        return -1;
    }
    return length == 0 ? 0 : take_piece(upload, upload->buffer, length);
}

static int receive(struct upload *upload, const struct json_body *query)
{
    uint64_t length = request_body_length(upload->request);
    bool is_small = length < SMALL_SIZE;
    upload->buffer = malloc(is_small ? (size_t)length + 1 : BUFFER_SIZE);
    if (upload->buffer == NULL) {
        answer_error(upload->request, 503, ERROR_unavailable, "Out of memory");
        return -1;
    }
    if (is_small) {
        return receive_small(upload, query, (size_t)length + 1);
    }
    length = length == UINT64_MAX ? 0 : length;
    return open_upload(upload, query, length, false) != 0 ? -1 : receive_pieces(upload);
}

/* ---- after it ---- */

static int check_body(struct upload *upload)
{
    if (upload->announced != UINT64_MAX && upload->announced != upload->received) {
        return refuse_request(upload, "The body is not as long as its Content-Range says");
    }
    return body_digest_holds(&upload->digest)
               ? 0
               : refuse_request(upload, "The body is not what its digest says");
}

static void answer_upload(const struct upload *upload, const struct fs_written *written)
{
    char headers[RAW_ETAG_SIZE + 40] = "", etag[RAW_ETAG_SIZE];
    char *end = headers;
    if (written->is_known) {
        end = stpcpy(stpcpy(stpcpy(end, "ETag: "), raw_etag(&written->status, etag)), "\r\n");
    }
    if (written->created) { /* a 204 has no length */
        (void)stpcpy(end, "Content-Length: 0\r\n");
    }
    (void)request_begin(upload->request, written->created ? 201 : 204, NULL, headers);
}

/* Whether the conditions still hold. If not the request has been answered. */
static bool still_holds(const struct upload *upload)
{
    struct stat status;
    char etag[RAW_ETAG_SIZE];
    return (upload->was_copied && stat(upload->path, &status) == 0 &&
            strcmp(raw_etag(&status, etag), upload->etag) == 0) ||
           raw_state_holds(upload->request, upload->path);
}

static void publish(struct upload *upload)
{
    struct fs_error error;
    struct fs_written written;
    upload->wish.exclusive = strcmp(request_param(upload->request, "HTTP_IF_NONE_MATCH"), "*") == 0;
    if (!still_holds(upload)) {
        return;
    }
    if (fs_write_publish(steal_pointer(upload->writer), &upload->wish, &written, &error) == 0) {
        answer_upload(upload, &written);
    } else if (written.is_damaged) {
        answer_lost(upload->request, "%s, and some of the new content is in the file",
                    error.message);
    } else if (upload->wish.exclusive && error.code == ERROR_exists) {
        raw_refuse_state(upload->request, upload->path);
    } else {
        (void)refuse_upload(upload, &error);
    }
}

void raw_put(struct request *request, const struct json_body *query, const char *path)
{
    cleanup_(upload_clear) struct upload upload = {.request = request, .path = path};
    if (read_wishes(&upload, query) != 0 || receive(&upload, query) != 0 ||
        check_body(&upload) != 0) {
        return;
    }
    pthread_mutex_t *lock = raw_state_is_asked(request) ? file_turn(path) : NULL;
    if (lock != NULL) {
        (void)pthread_mutex_lock(lock);
    }
    publish(&upload);
    if (lock != NULL) {
        (void)pthread_mutex_unlock(lock);
    }
}

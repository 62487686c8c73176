/*
 * PUT of /files. The body goes to a file beside the target as it comes (fs_write.c), and that takes
 * the target's name at the end: after the digest, the length and the conditions were looked at
 * again. Until then nothing has changed.
 */
#include "fcgi-app/files/raw_put.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "fcgi-app/files/body_digest.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/raw_state.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"

#define PIECE_SIZE  ((size_t)65536)      /* of a body */
#define ROOM_EVERY  ((uint64_t)64 << 20) /* bytes after which the disk is looked at again */
#define STATE_LOCKS 16                   /* shared by all files */

static struct {
    uint64_t upload_max;
    uint64_t free_least;
} limits;

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
};

void raw_put_init(uint64_t upload_max, uint64_t free_least)
{
    limits.upload_max = upload_max == 0 ? UINT64_MAX : upload_max;
    limits.free_least = free_least;
}

static void upload_clear(struct upload *upload)
{
    fs_write_cancel(upload->writer);
}

/* ---- what the client wants ---- */

/* 0, or -1 when it has been answered that the request is wrong. */
static int refuse_request(const struct upload *upload, const char *what)
{
    answer_error(upload->request, 400, ERROR_invalid_request, "%s", what);
    return -1;
}

static int read_mode(struct upload *upload, const char *text)
{
    char *end;
    unsigned long mode = text == NULL ? 0 : strtoul(text, &end, 8);
    if (text == NULL) {
        return 0;
    }
    if (strspn(text, "01234567") != strlen(text) || mode > 07777) {
        return refuse_request(upload, "mode must be octal, such as 0644");
    }
    upload->wish.has_mode = true;
    upload->wish.mode = (mode_t)mode;
    return 0;
}

/* Seconds since 1970, with up to nine digits of a second. */
static int read_time(struct upload *upload, const char *text)
{
    static const char wrong[] =
        "mtime must be seconds since 1970, such as 1700000000.5, or whole ones before";
    char *end;
    if (text == NULL) {
        return 0;
    }
    errno = 0;
    long long seconds = strtoll(text, &end, 10);
    long nanoseconds = 0;
    size_t digits = *end == '.' ? strspn(end + 1, "0123456789") : 0;
    /* A minus before a fraction would not be that of the fraction. */
    bool is_number = isdigit((unsigned char)text[text[0] == '-' && *end == '\0']) && errno == 0;
    if (!is_number || (*end == '.' && (digits < 1 || digits > 9)) ||
        (*end == '.' ? end[1 + digits] : *end) != '\0') {
        return refuse_request(upload, wrong);
    }
    for (size_t i = 1; i <= 9; i++) {
        nanoseconds = nanoseconds * 10 + (i <= digits ? end[i] - '0' : 0);
    }
    upload->wish.has_time = true;
    upload->wish.modified = (struct timespec){.tv_sec = seconds, .tv_nsec = nanoseconds};
    return 0;
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
                                      "a part cannot be put");
    }
    upload->announced = size;
    return 0;
}

/* 0, or -1 when the request has been answered. */
static int read_wishes(struct upload *upload, const struct json_body *query)
{
    const char *coding = request_param(upload->request, "HTTP_CONTENT_ENCODING");
    if (*coding != '\0' && strcasecmp(coding, "identity") != 0) {
        answer_error_with(upload->request, 415, ERROR_unsupported, "Accept-Encoding: identity\r\n",
                          0, "A file must come without Content-Encoding");
        return -1;
    }
    const char *fault = body_digest_begin(&upload->digest, upload->request);
    if (fault != NULL) {
        return refuse_request(upload, fault);
    }
    return read_mode(upload, json_text(query, "mode")) != 0 ||
                   read_time(upload, json_text(query, "mtime")) != 0 ||
                   read_content_range(upload) != 0
               ? -1
               : 0;
}

/* ---- before the body ---- */

/* WebDAV's status where a directory of the path is missing (RFC 4918, 9.7.1): 404 would be the
 * file's. */
static int refuse_upload(const struct upload *upload, const struct fs_error *error)
{
    bool has_no_directory = error->code == ERROR_not_found || error->code == ERROR_not_a_directory;
    answer_error(upload->request, has_no_directory ? 409 : raw_status(error->code), error->code,
                 "%s", error->message);
    return -1;
}

static int make_parents(const struct upload *upload)
{
    struct fs_error error;
    cleanup_free char *directory = strdup(upload->path);
    char *slash = directory == NULL ? NULL : strrchr(directory, '/');
    if (slash == NULL || slash == directory) {
        return 0; /* the root is there; without memory the next call says so */
    }
    *slash = '\0';
    return fs_make_directory(directory, &error) == 0 ? 0 : refuse_upload(upload, &error);
}

/* Whether the disk has room for `more` bytes; if not the request has been answered. */
static int check_room(struct upload *upload, uint64_t more)
{
    uint64_t room = fs_write_room(upload->writer);
    upload->room_at = upload->received + ROOM_EVERY;
    if (room >= limits.free_least && room - limits.free_least >= more) {
        return 0;
    }
    answer_error(upload->request, 507, ERROR_no_space,
                 "write %s: The disk has %llu bytes free, of which SANDBOX_MIN_FREE keeps %llu",
                 upload->path, (unsigned long long)room, (unsigned long long)limits.free_least);
    return -1;
}

static int open_upload(struct upload *upload, const struct json_body *query)
{
    struct fs_error error;
    if (served_file_is_own(upload->path, 0)) {
        (void)fs_refuse(&error, ERROR_permission_denied, "write", upload->path, RAW_OF_THE_SERVER);
        return refuse_upload(upload, &error);
    }
    if (!raw_state_holds(upload->request, upload->path) ||
        (json_flag(query, "parents") && make_parents(upload) != 0)) {
        return -1;
    }
    upload->writer = fs_write_begin(upload->path, &error);
    if (upload->writer == NULL) {
        return refuse_upload(upload, &error);
    }
    uint64_t length = request_body_length(upload->request);
    return check_room(upload, length == UINT64_MAX ? 0 : length);
}

/* ---- the body ---- */

static int take_piece(struct upload *upload, const char *piece, size_t length)
{
    struct fs_error error;
    upload->received += length;
    metrics_transferred(TRANSFER_IN, length);
    if (upload->received > limits.upload_max) {
        answer_error(upload->request, 413, ERROR_too_large,
                     "The file is larger than SANDBOX_MAX_UPLOAD");
        return -1;
    }
    body_digest_add(&upload->digest, piece, length);
    if (fs_write_data(upload->writer, piece, length, &error) != 0) {
        return refuse_upload(upload, &error);
    }
    return upload->received < upload->room_at ? 0 : check_room(upload, 0);
}

static int receive(struct upload *upload)
{
    ssize_t got;
    cleanup_free char *piece = malloc(PIECE_SIZE);
    if (piece == NULL) {
        answer_error(upload->request, 503, ERROR_unavailable, "Out of memory");
        return -1;
    }
    while ((got = request_read(upload->request, piece, PIECE_SIZE)) > 0) {
        if (take_piece(upload, piece, (size_t)got) != 0) {
            return -1;
        }
    }
    return got < 0 ? -1 : 0; /* cut: no one waits for an answer */
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
    /* a 204 has no length */
    const char *length = written->created ? "Content-Length: 0\r\n" : "";
    const char *tag = written->is_known ? raw_etag(&written->status, etag) : "";
    (void)snprintf(headers, sizeof(headers), "%s%s%s%s", written->is_known ? "ETag: " : "", tag,
                   written->is_known ? "\r\n" : "", length);
    (void)request_begin(upload->request, written->created ? 201 : 204, NULL, headers);
}

/* Clients that write one file under conditions take turns from here to its new state. */
static pthread_mutex_t *lock_of(const char *path)
{
    static pthread_mutex_t locks[STATE_LOCKS] = {[0 ... STATE_LOCKS - 1] =
                                                     PTHREAD_MUTEX_INITIALIZER};
    unsigned hash = 0;
    for (; *path != '\0'; path++) {
        hash = hash * 31 + (unsigned char)*path;
    }
    return &locks[hash % STATE_LOCKS];
}

static void publish(struct upload *upload)
{
    struct fs_error error;
    struct fs_written written;
    upload->wish.exclusive = strcmp(request_param(upload->request, "HTTP_IF_NONE_MATCH"), "*") == 0;
    if (!raw_state_holds(upload->request, upload->path)) {
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
    if (read_wishes(&upload, query) != 0 || open_upload(&upload, query) != 0 ||
        receive(&upload) != 0 || check_body(&upload) != 0) {
        return;
    }
    pthread_mutex_t *lock = raw_state_is_asked(request) ? lock_of(path) : NULL;
    if (lock != NULL) {
        (void)pthread_mutex_lock(lock);
    }
    publish(&upload);
    if (lock != NULL) {
        (void)pthread_mutex_unlock(lock);
    }
}

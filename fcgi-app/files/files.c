/*
 * The file endpoints but those of content (content.c). What the file system refuses is an answer
 * with status 200 and "error" in it, in the system's own words, as clients of this API expect.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/json_text.h"
#include "common/name_list.h"
#include "common/rfc3339.h"
#include "common/spool.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/http/writer.h"

#define NAME_PIECE_SIZE 256        /* of a file name being written */
#define NAMES_MEMORY    (64 << 10) /* for the names of a directory while they are sent */
#define LISTINGS_MAX    4          /* directories that are being read */

/* Seconds. A directory that is no disk's may take any time. */
#define LISTING_PATIENCE 10

static const struct json_member path_member[] = {
    {.name = "path", .kind = JSON_TEXT, .required = true, .about = "The file or directory."},
};

static int write_text(struct request *request, const char *text)
{
    return request_write(request, text, strlen(text));
}

/* ---- list_dir ---- */

/* Writes a name of any length as a JSON string. */
static int write_name(struct request *request, const char *name)
{
    char escaped[JSON_ESCAPED_MAX(NAME_PIECE_SIZE)];
    if (write_text(request, "\"") != 0) {
        return -1;
    }
    for (size_t left = strlen(name); left > 0;) {
        size_t length = left < NAME_PIECE_SIZE ? left : NAME_PIECE_SIZE, consumed;
        size_t written = json_escape(escaped, name, length, length == left, &consumed);
        if (request_write(request, escaped, written) != 0) {
            return -1;
        }
        name += consumed;
        left -= consumed;
    }
    return write_text(request, "\"");
}

/* Of a large directory all names are in memory while it is read, so not many are at once. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t left;
    unsigned count;
} listings = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

/* False when there was no room for so long that others must be stuck. */
static bool enter_listing(void)
{
    struct timespec deadline;
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += LISTING_PATIENCE;
    (void)pthread_mutex_lock(&listings.lock);
    while (listings.count == LISTINGS_MAX &&
           pthread_cond_clockwait(&listings.left, &listings.lock, CLOCK_MONOTONIC, &deadline) ==
               0) {
    }
    bool entered = listings.count < LISTINGS_MAX;
    listings.count += entered;
    (void)pthread_mutex_unlock(&listings.lock);
    return entered;
}

static void leave_listing(void)
{
    (void)pthread_mutex_lock(&listings.lock);
    listings.count--;
    (void)pthread_cond_signal(&listings.left);
    (void)pthread_mutex_unlock(&listings.lock);
}

/* The names, each with its NUL, in a spool: a client that takes its time with those of a large
 * directory holds no memory. NULL with errno. */
static struct spool *keep_names(const struct name_list *names)
{
    cleanup_(spool_freep) struct spool *spool = spool_new(spools_directory(), NAMES_MEMORY, 0);
    if (spool == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < names->count; i++) {
        const char *name = name_list_at(names, i);
        if (spool_write(spool, name, strlen(name) + 1) != 0) {
            return NULL;
        }
    }
    return steal_pointer(spool);
}

static void write_entries(struct request *request, struct spool *spool)
{
    const char *names = spool_view(spool);
    if (names == NULL) {
        answer_error(request, 500, ERROR_internal, "The names cannot be read: %s",
                     error_text(errno));
        return;
    }
    if (request_begin(request, 200, "application/json", NULL) != 0 ||
        write_text(request, "{\"entries\":[") != 0) {
        return;
    }
    const char *end = names + spool_size(spool);
    for (const char *name = names, *seen = names; name < end; name += strlen(name) + 1) {
        if ((name > names && write_text(request, ",") != 0) || write_name(request, name) != 0) {
            return;
        }
        if (name - seen > NAMES_MEMORY) {
            spool_relax_view(spool);
            seen = name;
        }
    }
    (void)write_text(request, "]}");
}

/* Answers what fails. NULL then. */
static struct spool *list_names(struct request *request, const char *path)
{
    struct fs_error error;
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    if (fs_list(path, &names, &error) != 0) {
        answer_error(request, 200, error.code, "%s", error.message);
        return NULL;
    }
    struct spool *spool = keep_names(&names);
    if (spool == NULL) {
        answer_error(request, 500, api_error_of_errno(errno),
                     "The names cannot be kept until they are sent: %s", error_text(errno));
    }
    return spool;
}

static void handle_list_dir(struct request *request, const struct json_body *body)
{
    if (!enter_listing()) {
        answer_error(request, 503, ERROR_too_many, "Too many directories are being listed");
        return;
    }
    cleanup_(spool_freep) struct spool *names = list_names(request, requested_path(body));
    leave_listing();
    if (names != NULL) {
        write_entries(request, names);
    }
}

const struct endpoint list_dir_endpoint = {
    API_ROW(list_dir),
    .about = "Lists the names in a directory, sorted.",
    MEMBERS(path_member),
    .handle = handle_list_dir,
};

/* ---- stat_file ---- */

#define STAT_BUFFER ((size_t)8192) /* with a name of any length that a path may have */

/* {"entry": {...}}. The time and the mode are strings: published clients decode them as such. */
static int write_entry(struct writer *writer, const char *path, const struct stat *status)
{
    char modified[RFC3339_SIZE];
    size_t length;
    const char *name = fs_name(path, &length);
    (void)rfc3339_format(status->st_mtim.tv_sec, (uint32_t)status->st_mtim.tv_nsec, modified);
    if (writer_string(writer, "{\"entry\":{\"name\":\"") < 0 ||
        writer_text(writer, name, length) < 0 ||
        writer_format(writer,
                      "\",\"is_dir\":%s,\"size\":%lld,\"mod_time\":\"%s\",\"mode\":\"%04o\"}}",
                      S_ISDIR(status->st_mode) ? "true" : "false", (long long)status->st_size,
                      modified, (unsigned)status->st_mode & 07777) < 0) {
        return -1;
    }
    return writer_finish(writer);
}

static void handle_stat_file(struct request *request, const struct json_body *body)
{
    struct fs_error error;
    struct stat status;
    if (fs_stat(requested_path(body), &status, &error) != 0) {
        answer_error(request, 200, error.code, "%s", error.message);
        return;
    }
    cleanup_(writer_clear) struct writer writer = {.data = NULL};
    if (writer_init(&writer, request, STAT_BUFFER, false) < 0) {
        answer_error(request, 500, ERROR_internal, "Out of memory");
        return;
    }
    (void)write_entry(&writer, requested_path(body), &status); /* or the client has left */
}

const struct endpoint stat_file_endpoint = {
    API_ROW(stat_file),
    .about = "Describes a file or directory.",
    MEMBERS(path_member),
    .handle = handle_stat_file,
};

/* ---- delete_file, delete_dir, make_dir: a path, and a call that does it or fails ---- */

static void handle_change(struct request *request, const struct json_body *body,
                          int (*change)(const char *path, struct fs_error *error))
{
    struct fs_error error;
    if (change(requested_path(body), &error) == 0) {
        answer_success(request);
    } else {
        answer_failure(request, 200, error.code, "%s", error.message);
    }
}

static void handle_delete_file(struct request *request, const struct json_body *body)
{
    handle_change(request, body, fs_delete_file);
}

static void handle_delete_dir(struct request *request, const struct json_body *body)
{
    handle_change(request, body, fs_delete_tree);
}

static void handle_make_dir(struct request *request, const struct json_body *body)
{
    handle_change(request, body, fs_make_directory);
}

const struct endpoint delete_file_endpoint = {
    API_ROW(delete_file),         .about = "Deletes a file.",   MEMBERS(path_member),
    .flags = JSON_ANSWER_FAILURE, .handle = handle_delete_file,
};
const struct endpoint delete_dir_endpoint = {
    API_ROW(delete_dir),         .about = "Deletes a directory with everything in it.",
    MEMBERS(path_member),        .flags = JSON_ANSWER_FAILURE,
    .handle = handle_delete_dir,
};
const struct endpoint make_dir_endpoint = {
    API_ROW(make_dir),         .about = "Makes a directory and those above it.",
    MEMBERS(path_member),      .flags = JSON_ANSWER_FAILURE,
    .handle = handle_make_dir,
};

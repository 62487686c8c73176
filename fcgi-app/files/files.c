/*
 * The file endpoints that take a path and nothing else: /stat_file, /delete_file, /delete_dir and
 * /make_dir. What the file system refuses is an answer with status 200 and "error" in it, in the
 * system's own words, as published clients expect.
 */
#include <stdbool.h>
#include <sys/stat.h>

#include "common/rfc3339.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/fs_path.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/writer.h"

static const struct json_member path_member[] = {
    {JSON_MEMBER("path", TEXT, "The file or directory."), .required = true},
};

/* ---- stat_file ---- */

/* {"entry": {...}}. The time and the mode are strings: published clients decode them as such. */
static void write_entry(struct writer *writer, const char *path, const struct stat *status)
{
    char modified[RFC3339_SIZE];
    size_t length;
    const char *name = fs_name(path, &length);
    (void)rfc3339_format(status->st_mtim.tv_sec, (uint32_t)status->st_mtim.tv_nsec, modified);
    (void)writer_string(writer, "{\"entry\":{\"name\":\"");
    (void)writer_text(writer, name, length);
    (void)writer_format(writer,
                        "\",\"is_dir\":%s,\"size\":%lld,\"mod_time\":\"%s\",\"mode\":\"%04o\"}}",
                        S_ISDIR(status->st_mode) ? "true" : "false", (long long)status->st_size,
                        modified, (unsigned)status->st_mode & 07777);
    (void)writer_finish(writer);
}

static void handle_stat_file(struct request *request, const struct json_body *body)
{
    struct fs_error error;
    struct stat status;
    if (fs_stat(requested_path(body), &status, &error) != 0) {
        answer_error(request, 200, error.code, "%s", error.message);
        return;
    }
    char buffer[ANSWER_AT_ONCE];
    struct writer writer = writer_over(request, buffer, sizeof(buffer), 200);
    write_entry(&writer, requested_path(body), &status);
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

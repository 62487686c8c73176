/*
 * The file endpoints that take a path and nothing else: /stat_file, /delete_file, /delete_dir and
 * /make_dir. What the file system refuses is an answer with status 200 and "error" in it, in the
 * system's own words, as published clients expect.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "fcgi-app/files/file_entry.h"
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

/* {"entry": {...}} */
static void write_entry(struct request *request, const char *path, const struct stat *status)
{
    char buffer[ANSWER_AT_ONCE];
    struct owner_names owners = {.is_filled = false};
    struct file_entry entry = {.status = status, .directory = AT_FDCWD, .link = path};
    entry.name = fs_name(path, &entry.name_length);
    struct writer writer = writer_over(request, buffer, sizeof(buffer), 200);
    (void)writer_string(&writer, "{\"entry\":{");
    (void)file_entry_write(&writer, &owners, &entry);
    (void)writer_string(&writer, "}}");
    (void)writer_finish(&writer);
}

static void handle_stat_file(struct request *request, const struct json_body *body)
{
    struct fs_error error;
    struct stat status;
    const char *path = requested_path(body);
    if (fs_stat(path, json_flag(body, "no_follow"), &status, &error) != 0) {
        answer_error(request, 200, error.code, "%s", error.message);
    } else {
        write_entry(request, path, &status);
    }
}

static const struct json_member stat_members[] = {
    {JSON_MEMBER("path", TEXT, "The file or directory."), .required = true},
    {JSON_MEMBER("no_follow", FLAG, "Of a link: describe the link itself.")},
};
const struct endpoint stat_file_endpoint = {
    API_ROW(stat_file),
    .about = "Describes a file or directory.",
    MEMBERS(stat_members),
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

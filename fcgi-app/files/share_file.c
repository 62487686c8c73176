/*
 * POST /share_file: a link to a file, for clients without the token. It names a path and not what
 * is there now: the file may come, change and go.
 */
#include "fcgi-app/files/share_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "fcgi-app/files/archive.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_wish.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/grant.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/query.h"
#include "fcgi-app/http/request.h"

static const char *start; /* of relative paths */

void share_file_init(const char *start_directory)
{
    start = start_directory;
}

/* ---- the target ---- */

struct target {
    char text[GRANT_TARGET_MOST + 1];
    size_t length; /* more than GRANT_TARGET_MOST: it did not fit */
};

static void target_add(struct target *target, const char *text, size_t length)
{
    if (target->length + length <= GRANT_TARGET_MOST) {
        memcpy(target->text + target->length, text, length);
        target->text[target->length + length] = '\0';
    }
    target->length += length;
}

/* No client writes these in another way. */
static bool is_unreserved(char byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           (byte != '\0' && strchr("-._~", byte) != NULL);
}

static void add_escaped_name(struct target *target, const char *name, size_t length)
{
    target_add(target, "/", 1);
    for (size_t i = 0; i < length; i++) {
        char escaped[4];
        bool is_plain = is_unreserved(name[i]);
        (void)snprintf(escaped, sizeof(escaped), is_plain ? "%c" : "%%%02X",
                       (unsigned char)name[i]);
        target_add(target, escaped, is_plain ? 1 : 3);
    }
}

/* Adds the names of a path, without empty ones and ., which some clients leave out. False: one is
 * .., which means something else to nginx than to the file system. */
static bool add_path(struct target *target, const char *path)
{
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if (length == 2 && strncmp(path, "..", 2) == 0) {
            return false;
        }
        if (length > 0 && !(length == 1 && *path == '.')) {
            add_escaped_name(target, path, length);
        }
        path += length;
        path += *path == '/';
    }
    return true;
}

/* What may stand in a link, beside the path: nothing that takes a tree or extracts an archive. */
static const struct parameter {
    const char *name;
    const char *method;
    bool is_flag;
} parameters[] = {{"download", "GET", true},
                  {"archive", "GET", false},
                  {"parents", "PUT", true},
                  {"mode", "PUT", false}};

#define PARAMETERS (sizeof(parameters) / sizeof(parameters[0]))

/* Its value; NULL: it is not asked for. */
static const char *parameter_value(const struct parameter *parameter, const struct json_body *body)
{
    if (parameter->is_flag) {
        return json_flag(body, parameter->name) ? "1" : NULL;
    }
    return json_text(body, parameter->name);
}

static void add_parameters(struct target *target, const struct json_body *body)
{
    target_add(target, "?", 1);
    for (size_t i = 0; i < PARAMETERS; i++) {
        const char *value = parameter_value(&parameters[i], body);
        if (value != NULL) {
            target_add(target, parameters[i].name, strlen(parameters[i].name));
            target_add(target, "=", 1);
            target_add(target, value, strlen(value));
            target_add(target, "&", 1);
        }
    }
}

/* The path of the body, which the caller frees. NULL: the request has been answered. */
static char *wanted_path(struct request *request, const struct json_body *body)
{
    const char *plain = json_text(body, "path");
    const char *escaped = json_text(body, "path_escaped");
    if ((plain == NULL) == (escaped == NULL)) {
        answer_error(request, 400, ERROR_invalid_request,
                     plain == NULL ? "path is required" : "Only one of path and path_escaped");
        return NULL;
    }
    char *path = strdup(plain == NULL ? escaped : plain);
    if (path == NULL) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return NULL;
    }
    if (plain == NULL && !percent_decode_all(path)) {
        answer_error(request, 400, ERROR_invalid_request, "path_escaped contains a NUL character");
        free(path);
        return NULL;
    }
    return path;
}

/* The path below /files, and the parameters. False: the request has been answered. */
static bool make_target(struct request *request, const struct json_body *body,
                        struct target *target)
{
    cleanup_free char *path = wanted_path(request, body);
    if (path == NULL) {
        return false;
    }
    target_add(target, "/files", strlen("/files"));
    if ((path[0] != '/' && !add_path(target, start)) || !add_path(target, path)) {
        answer_error(request, 400, ERROR_invalid_path, "A path must not contain ..");
        return false;
    }
    if (target->length == strlen("/files")) {
        target_add(target, "/", 1);
    }
    add_parameters(target, body);
    if (target->length > GRANT_TARGET_MOST) {
        answer_error(request, 400, ERROR_invalid_path, "The path is too long for a link");
        return false;
    }
    return true;
}

/* ---- the request ---- */

/* Whether the method and the parameters are good; if not the request has been answered. */
static bool check_parameters(struct request *request, const struct json_body *body,
                             const char *method)
{
    struct fs_wish wish = {.has_mode = false};
    if (strcmp(method, "GET") != 0 && strcmp(method, "PUT") != 0 && strcmp(method, "DELETE") != 0) {
        answer_error(request, 400, ERROR_invalid_request, "method must be GET, PUT or DELETE");
        return false;
    }
    for (size_t i = 0; i < PARAMETERS; i++) {
        if (parameter_value(&parameters[i], body) != NULL &&
            strcmp(parameters[i].method, method) != 0) {
            answer_error(request, 400, ERROR_invalid_request, "%s is for the method %s",
                         parameters[i].name, parameters[i].method);
            return false;
        }
    }
    const char *fault = raw_wish_read(&wish, json_text(body, "mode"), NULL);
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
        return false;
    }
    return json_text(body, "archive") == NULL || archive_kind_of(request, body) != NULL;
}

static void handle_share_file(struct request *request, const struct json_body *body)
{
    const char *given = json_text(body, "method");
    const char *method = given == NULL ? "GET" : given;
    struct target target = {.length = 0};
    uint64_t expires_ms = grant_expiry(request, body, GRANT_LINK_MS);
    if (expires_ms == 0) {
        return;
    }
    if (check_parameters(request, body, method) && make_target(request, body, &target)) {
        const struct grant grant = {
            .kind = "file", .method = method, .target = target.text, .expires_ms = expires_ms};
        grant_answer(request, &grant, GRANT_LINK);
    }
}

static const struct json_member share_members[] = {
    {JSON_MEMBER("path", TEXT, "The file. It need not be there yet.")},
    {JSON_MEMBER("path_escaped", TEXT, "The same, with %xx for any byte.")},
    {JSON_MEMBER("method", TEXT, "GET, which includes HEAD, or PUT or DELETE; GET by default.")},
    {JSON_MEMBER("expires_in_ms", COUNT, "How long the link works; an hour by default.")},
    {JSON_MEMBER("download", FLAG, "GET: a browser saves the file instead of showing it.")},
    {JSON_MEMBER("archive", TEXT, "GET: the tree beneath a directory: tar, tar.gz or tar.zst.")},
    {JSON_MEMBER("parents", FLAG, "PUT: makes the directories of the path that are missing.")},
    {JSON_MEMBER("mode", TEXT, "PUT: the mode of the file, in octal.")},
};
const struct endpoint share_file_endpoint = {
    API_ROW(share_file),
    .about = "Makes a link to a file, which works without the token until it expires.",
    MEMBERS(share_members),
    .handle = handle_share_file,
};

/*
 * POST /share_file: a link to a file, for those who have no token. It names a path and not what is
 * there now: the file may come, change and go.
 */
#include "fcgi-app/files/share_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_wish.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/grant.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/request.h"

#define DEFAULT_LIFETIME_MS UINT64_C(3600000)

static uint64_t lifetime_most;
static const char *start; /* of relative paths */

void share_file_init(uint64_t lifetime_most_ms, const char *start_directory)
{
    lifetime_most = lifetime_most_ms;
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

/* Adds the parameters: of the body, those that fit the method. */
static void add_parameters(struct target *target, const struct json_body *body)
{
    const char *mode = json_text(body, "mode");
    target_add(target, "?", 1);
    if (json_flag(body, "download")) {
        target_add(target, "download=1&", strlen("download=1&"));
    }
    if (json_flag(body, "parents")) {
        target_add(target, "parents=1&", strlen("parents=1&"));
    }
    if (mode != NULL) {
        target_add(target, "mode=", strlen("mode="));
        target_add(target, mode, strlen(mode));
        target_add(target, "&", 1);
    }
}

/* The path below /files, and the parameters. False: the request has been answered. */
static bool make_target(struct request *request, const struct json_body *body,
                        struct target *target)
{
    const char *path = json_text(body, "path");
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

/* What is wrong with the members beside the path, or NULL. */
static const char *find_share_fault(const struct json_body *body, const char *method)
{
    struct fs_wish wish = {.has_mode = false};
    bool is_get = strcmp(method, "GET") == 0;
    bool is_put = strcmp(method, "PUT") == 0;
    if (!is_get && !is_put && strcmp(method, "DELETE") != 0) {
        return "method must be GET, PUT or DELETE";
    }
    if (!is_get && json_flag(body, "download")) {
        return "download is for the method GET";
    }
    if (!is_put && (json_flag(body, "parents") || json_is_given(body, "mode"))) {
        return "parents and mode are for the method PUT";
    }
    return raw_wish_read(&wish, json_text(body, "mode"), NULL);
}

/* How long the link is to live; 0: the request has been answered. */
static uint64_t choose_lifetime(struct request *request, const struct json_body *body)
{
    uint64_t usual = lifetime_most < DEFAULT_LIFETIME_MS ? lifetime_most : DEFAULT_LIFETIME_MS;
    uint64_t lifetime = json_count(body, "expires_in_ms", usual);
    if (lifetime_most == 0) {
        answer_error(request, 403, ERROR_unsupported,
                     "This server makes no links (SANDBOX_MAX_LINK_LIFETIME is 0)");
        return 0;
    }
    if (lifetime == 0 || lifetime > lifetime_most) {
        answer_error(request, 400, ERROR_invalid_request,
                     "expires_in_ms must be from 1 to %llu (SANDBOX_MAX_LINK_LIFETIME)",
                     (unsigned long long)lifetime_most);
        return 0;
    }
    return lifetime;
}

static void handle_share_file(struct request *request, const struct json_body *body)
{
    const char *given = json_text(body, "method");
    const char *method = given == NULL ? "GET" : given;
    struct target target = {.length = 0};
    uint64_t lifetime = choose_lifetime(request, body);
    if (lifetime == 0) {
        return;
    }
    const char *fault = find_share_fault(body, method);
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
    } else if (make_target(request, body, &target)) {
        const struct grant grant = {.kind = "file",
                                    .method = method,
                                    .target = target.text,
                                    .expires_ms = clock_date_ns() / 1000000 + lifetime};
        grant_answer(request, &grant);
    }
}

static const struct json_member share_members[] = {
    {JSON_MEMBER("path", TEXT, "The file. It need not be there yet."), .required = true},
    {JSON_MEMBER("method", TEXT, "GET, which includes HEAD, or PUT or DELETE; GET by default.")},
    {JSON_MEMBER("expires_in_ms", COUNT, "How long the link works; an hour by default.")},
    {JSON_MEMBER("download", FLAG, "GET: a browser saves the file instead of showing it.")},
    {JSON_MEMBER("parents", FLAG, "PUT: makes the directories of the path that are missing.")},
    {JSON_MEMBER("mode", TEXT, "PUT: the mode of the file, in octal.")},
};
const struct endpoint share_file_endpoint = {
    API_ROW(share_file),
    .about = "Makes a link to a file, which works without the token until it expires.",
    MEMBERS(share_members),
    .handle = handle_share_file,
};

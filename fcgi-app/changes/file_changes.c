/*
 * GET /file_changes_streaming: watches a directory. Then change_stream.c takes over.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/vfs.h>

#include "common/cleanup.h"
#include "fcgi-app/changes/change_stream.h"
#include "fcgi-app/changes/watch_limits.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/files/raw_answer.h"
#include "fcgi-app/files/requested_path.h"
#include "fcgi-app/files/served_file.h"
#include "fcgi-app/files/stop_check.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/search/glob.h"
#include "procd/log/event_id.h"

/* ---- what is asked for ---- */

/* 0, or -1 when the request has been answered. */
static int read_glob_parameter(struct request *request, const char *text, struct glob **glob)
{
    char fault[GLOB_FAULT_SIZE];
    *glob = text == NULL ? NULL : glob_new(text, fault);
    if (text == NULL || *glob != NULL) {
        return 0;
    }
    if (*fault == '\0') {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
    } else {
        answer_error(request, 400, ERROR_invalid_request, "glob: %s", fault);
    }
    return -1;
}

static bool is_the_kernels(int fd)
{
    struct statfs system;
    return fstatfs(fd, &system) == 0 &&
           (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC);
}

/* The directory, or -1 with *error. */
static int open_watched(const char *path, struct fs_error *error)
{
    if (served_file_check(path, 0, "watch", error) != 0) {
        return -1;
    }
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return fs_fail(error, errno, "open", path);
    }
    if (is_the_kernels(fd)) {
        return fs_refuse(error, ERROR_unsupported, "watch", path,
                         "The kernel does not report what changes there");
    }
    return steal_fd(&fd);
}

/* ---- the stream ---- */

static void refuse_watch(struct request *request, const char *path, int number)
{
    struct fs_error error;
    char reason[WATCH_REASON_SIZE];
    if (number == ECANCELED) {
        answer_stopping(request); /* or the client has left */
    } else if (number == EACCES || number == ENOENT || number == ENAMETOOLONG) {
        (void)fs_fail(&error, number, "watch", path);
        raw_refuse(request, &error);
    } else {
        answer_error(request, 503, ERROR_unavailable, "%s", watch_limits_reason(number, reason));
    }
}

/* Takes the glob over. */
static void stream_changes(struct request *request, const struct change_query *query, int root,
                           struct admission *admission)
{
    const struct stop_check check = stop_check_of(request);
    struct change_stream *stream = change_stream_new(query, root, &check);
    if (stream == NULL) {
        refuse_watch(request, query->path, errno);
    } else if (sse_begin(request) == 0 && strcmp(request_method(request), "HEAD") != 0) {
        change_stream_open(request, stream, admission);
    } else {
        change_stream_free(stream);
    }
}

static void handle_file_changes(struct request *request, const struct json_body *parameters)
{
    struct fs_error error;
    cleanup_(admission_leave) struct admission admission = {.held = false};
    struct change_query query = {.path = json_text(parameters, "path"),
                                 .is_recursive = json_flag(parameters, "recursive"),
                                 .resumes = *request_param(request, "HTTP_LAST_EVENT_ID") != '\0'};
    if (!admission_enter(&admission, ADMISSION_STREAM, request) ||
        read_glob_parameter(request, json_text(parameters, "glob"), &query.glob) != 0) {
        return;
    }
    cleanup_fd int root = open_watched(requested_path_begin(query.path), &error);
    if (root < 0) {
        glob_free(query.glob);
        raw_refuse(request, &error);
        return;
    }
    stream_changes(request, &query, root, &admission);
}

/* As of a log: an EventSource that comes back from the end of a stream gets a 204. */
static bool answer_after_root(struct request *request)
{
    bool is_end = event_id_is_end(request_param(request, "HTTP_LAST_EVENT_ID"));
    if (is_end) {
        (void)request_begin(request, 204, NULL, "Cache-Control: no-cache\r\n");
    }
    return is_end;
}

static const struct json_member changes_parameters[] = {
    {JSON_MEMBER("path", TEXT, "The directory."), .required = true},
    {JSON_MEMBER("recursive", FLAG, "Whether all directories below it are watched, too: no.")},
    {JSON_MEMBER("glob", TEXT, "Only files that this chooses: * ? ** [a-z] {a,b}.")},
};
const struct endpoint file_changes_streaming_endpoint = {
    API_ROW(file_changes_streaming), .about = "Streams what changes in a directory.",
    MEMBERS(changes_parameters),     .answer_early = answer_after_root,
    .handle = handle_file_changes,
};

#include "fcgi-app/files/archive.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/fcgi.h"
#include "fcgi-app/http/json_body.h"
#include "fcgi-app/http/query.h"
#include "fcgi-app/http/request.h"

/* ---- the question ---- */

static const struct archive_kind kinds[] = {
    {"tar", "application/x-tar", "", "", "tar"},
    {"tar.gz", "application/gzip", "--gzip", "--gzip", "tar gzip"},
    /* bsdtar puts zeros behind what it compresses: with -f zstd passes them on, as gzip does
     * without. What is no zstd at all is tar's to judge, so. */
    {"tar.zst", "application/zstd", "--zstd", "--use-compress-program='zstd -f'", "tar zstd"},
};

const struct archive_kind *archive_kind_of(struct request *request, const struct json_body *query)
{
    const char *name = json_text(query, "archive");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    answer_error(request, 400, ERROR_invalid_request, "archive must be tar, tar.gz or tar.zst");
    return NULL;
}

/* A glob as tar and find take it: names begin with ./ there, and end without a slash. Empty: there
 * is nothing of it. */
static int add_glob(struct name_list *environment, const char *parameter, int number, char *glob)
{
    char *entry = NULL;
    for (size_t length = strlen(glob); length > 0 && glob[length - 1] == '/'; length--) {
        glob[length - 1] = '\0';
    }
    if (*glob == '\0') {
        return 0;
    }
    if (asprintf(&entry, "%s_%d=%s%s", parameter, number, *glob == '/' ? "." : "", glob) < 0) {
        return -1;
    }
    int result = name_list_add(environment, entry);
    free(entry);
    return result < 0 ? -1 : 1;
}

static int refuse_globs(struct request *request, const char *parameter, int taken)
{
    if (taken < 0) {
        answer_error(request, 400, ERROR_invalid_request, "%s contains a NUL character", parameter);
    } else {
        answer_error(request, 400, ERROR_invalid_request, "There are more than %d times %s",
                     ARCHIVE_GLOBS, parameter);
    }
    return -1;
}

int archive_read_globs(struct request *request, const char *parameter,
                       struct name_list *environment)
{
    const char *at = request_query(request);
    cleanup_free char *glob = malloc(strlen(at) + 1);
    int count = 0, added = glob == NULL ? -1 : 0, taken = 0;
    while (added >= 0 && (taken = query_next(&at, parameter, glob)) > 0 && count < ARCHIVE_GLOBS) {
        added = add_glob(environment, parameter, count, glob);
        count += added > 0;
    }
    if (added < 0) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return -1;
    }
    return taken != 0 ? refuse_globs(request, parameter, taken) : count;
}

/* ---- the command ---- */

void archive_append(char script[ARCHIVE_SCRIPT_SIZE], const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(script);
    va_start(arguments, format);
    (void)vsnprintf(script + used, ARCHIVE_SCRIPT_SIZE - used, format, arguments);
    va_end(arguments);
}

bool archive_start(struct request *request, const char *script, const char *path,
                   const struct name_list *environment, int input, struct foreground *foreground)
{
    struct spawn_error error;
    struct command command = command_for(request, script, path);
    const char *variables[2 * ARCHIVE_GLOBS];
    for (size_t i = 0; i < environment->count; i++) {
        variables[i] = name_list_at(environment, i);
    }
    command.env = variables;
    command.env_count = environment->count;
    command.input = input;
    command.beneath = true;
    enum procd_result result = procd_run(&command, foreground, &error);
    if (result != PROCD_DONE && !request_is_answered(request)) {
        answer_command_failure(request, &command, result, &error, false);
    }
    return result == PROCD_DONE;
}

/* ---- what tar says ---- */

void archive_hear(struct archive_complaint *complaint, const char *data, size_t length)
{
    size_t room = sizeof(complaint->text) - 1 - complaint->length;
    complaint->is_cut = complaint->is_cut || length > room;
    length = length < room ? length : room;
    memcpy(complaint->text + complaint->length, data, length);
    complaint->length += length;
    complaint->text[complaint->length] = '\0';
}

const char *archive_complaint_text(struct archive_complaint *complaint)
{
    while (complaint->length > 0 && complaint->text[complaint->length - 1] == '\n') {
        complaint->text[--complaint->length] = '\0';
    }
    return complaint->length == 0 ? "tar failed without a word" : complaint->text;
}

enum api_error archive_error_of(const struct archive_complaint *complaint, enum api_error fallback)
{
    static const struct {
        const char *reason; /* as glibc has it in English */
        enum api_error error;
    } reasons[] = {{"No space left on device", ERROR_no_space},
                   {"Disk quota exceeded", ERROR_no_space},
                   {"File too large", ERROR_too_large},
                   {"Read-only file system", ERROR_read_only},
                   {"Permission denied", ERROR_permission_denied},
                   {"Operation not permitted", ERROR_permission_denied},
                   {"Not a directory", ERROR_not_a_directory},
                   {"Is a directory", ERROR_is_a_directory},
                   {"Directory not empty", ERROR_not_empty},
                   {"File exists", ERROR_exists},
                   {"Text file busy", ERROR_in_use}};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (strstr(complaint->text, reasons[i].reason) != NULL) {
            return reasons[i].error;
        }
    }
    return fallback;
}

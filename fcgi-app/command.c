/*
 * Reading commands, explaining failures.
 */
#include "fcgi-app/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/logger.h"
#include "fcgi-app/request.h"
#include "fcgi-app/sse.h"

const struct json_member command_members[COMMAND_MEMBERS] = {
    {.name = "cmd", .kind = JSON_TEXT, .required = true, .missing = "Command is required"},
    {.name = "cwd", .kind = JSON_TEXT},
    {.name = "env", .kind = JSON_ENVIRONMENT},
};

struct command command_of(const struct json_body *body)
{
    struct command command = {.cmd = json_text(body, "cmd"), .cwd = json_text(body, "cwd")};
    command.env = json_environment(body, "env", &command.env_count);
    return command;
}

/* Why a command was not started. The text, owned by the caller, or NULL when memory is out; *status
 * is 400 when it is the client's command, otherwise 500. */
static char *explain(const struct command *command, const struct spawn_error *error, int *status)
{
    char buffer[128];
    char *message;
    const char *reason = strerror_r(error->error, buffer, sizeof(buffer));
    int length;
    *status = 400;
    if (error->stage == SPAWN_CHDIR && command->cwd != NULL) {
        length = asprintf(&message, "Invalid working directory: %s", command->cwd);
    } else if (error->error == E2BIG) {
        length = asprintf(&message,
                          "The command or its environment is too large for the kernel: %s", reason);
    } else {
        *status = 500;
        length = asprintf(&message, "Cannot start the command: %s", reason);
    }
    return length < 0 ? NULL : message;
}

void answer_procd_failure(struct request *request, enum procd_result result)
{
    if (result == PROCD_UNREACHABLE) {
        log_request(request_id(request), "%s: procd is not reachable", request_path(request));
        answer_unavailable(request, "The procd daemon is not available");
    } else {
        log_request(request_id(request), "%s: procd died meanwhile", request_path(request));
        answer_error(request, 500, "The procd daemon died with the request: it may have been done");
    }
}

void answer_command_failure(struct request *request, const struct command *command,
                            enum procd_result result, const struct spawn_error *error, bool streams)
{
    if (result != PROCD_NOT_STARTED) {
        answer_procd_failure(request, result);
        return;
    }
    int status;
    cleanup_free char *message = explain(command, error, &status);
    if (status == 500) {
        errno = error->error;
        log_request(request_id(request), "%s: cannot start the command: %m", request_path(request));
    }
    const char *text = message == NULL ? "Out of memory" : message;
    if (!streams) {
        answer_error(request, status, "%s", text);
    } else if (sse_begin(request) == 0) {
        (void)sse_error(request, "%s", text);
    }
}

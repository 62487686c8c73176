#include "fcgi-app/commands/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/logger.h"
#include "common/settings.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"

/* Between SIGTERM and SIGKILL at a timeout. */
#define GRACE_DEFAULT_MS 2000

static const struct settings *configured;

void command_init(const struct settings *settings)
{
    configured = settings;
}

/* The operator's limit also holds for a client that asks for no timeout. */
static uint64_t allowed_timeout(uint64_t asked_ms)
{
    uint64_t max_ms = configured->max_timeout_ms;
    bool too_long = max_ms != 0 && (asked_ms == 0 || asked_ms > max_ms);
    return too_long ? max_ms : asked_ms;
}

struct command command_for(const struct request *request, const char *script, const char *cwd)
{
    return (struct command){.cmd = script,
                            .request_id = request_id(request),
                            .cwd = cwd,
                            .timeout_ms = allowed_timeout(0),
                            .grace_ms = GRACE_DEFAULT_MS,
                            .input = -1};
}

/* A limit that the client does not ask for is left to the runner, which knows the operator's. */
static void read_limits(const struct json_body *body, struct command *command)
{
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        enum cgroup_limit limit = (enum cgroup_limit)i;
        uint64_t asked = json_count(body, command_limits[i].name, 0);
        uint64_t most = command_limit_setting(configured, limit);
        most = most == 0 ? command_limits[i].most : most;
        command->limits[i] = asked > most ? most : asked;
    }
}

bool command_is_shortage(int error)
{
    return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

/*
 * Clients of an event stream that was cut send the request again with Last-Event-ID, even a POST,
 * and would run the command twice. No other client sends it. True when such a request was answered.
 */
static bool is_repeated(struct request *request)
{
    if (*request_param(request, "HTTP_LAST_EVENT_ID") == '\0') {
        return false;
    }
    answer_lost(
        request,
        "Last-Event-ID says that this request was sent before: the command may have run, and is "
        "not run again");
    return true;
}

/* What is to be executed: one of the two. False when the request has been answered. */
static bool read_words(struct request *request, const struct json_body *body,
                       struct command *command)
{
    *command = (struct command){
        .cmd = json_text(body, "cmd"), .request_id = request_id(request), .input = -1};
    command->argv = json_texts(body, "argv", &command->argc);
    const char *fault = NULL;
    if (json_is_given(body, "argv")) {
        fault = command->cmd != NULL          ? "cmd and argv exclude each other"
                : command->argc == 0          ? "argv is empty: its first element is the program"
                : command->argv[0][0] == '\0' ? "argv has no program: its first element is empty"
                                              : NULL;
    } else if (command->cmd == NULL && !json_is_given(body, "pty")) {
        fault = "Command is required";
    }
    if (fault != NULL) {
        answer_error(request, 400, ERROR_invalid_request, "%s", fault);
    }
    return fault == NULL;
}

bool command_read(struct request *request, const struct json_body *body, struct command *command)
{
    uint64_t grace_ms = json_count(body, "kill_grace_ms", GRACE_DEFAULT_MS);
    if (!read_words(request, body, command) || is_repeated(request)) {
        return false;
    }
    if (grace_ms > GRACE_MAX_MS) {
        answer_error(request, 400, ERROR_invalid_request, "kill_grace_ms must be at most %d",
                     GRACE_MAX_MS);
        return false;
    }
    command->cwd = json_text(body, "cwd");
    command->timeout_ms = allowed_timeout(json_count(body, "timeout_ms", 0));
    command->grace_ms = grace_ms;
    command->merges_stderr = json_flag(body, "merge_stderr");
    command->env = json_environment(body, "env", &command->env_count);
    read_limits(body, command);
    if (command->limits[CGROUP_MEMORY] != 0 && command->limits[CGROUP_MEMORY] < MEMORY_MAX_LEAST) {
        answer_error(request, 400, ERROR_invalid_request, "memory_max must be at least %llu",
                     (unsigned long long)MEMORY_MAX_LEAST);
        return false;
    }
    return true;
}

/* Whether a command was not started because of the program that its argv names. */
static bool is_about_program(const struct command *command, const struct spawn_error *error)
{
    static const int errors[] = {ENOENT, ENOTDIR, EACCES,       EPERM,   ENOEXEC, EISDIR,
                                 ELOOP,  EINVAL,  ENAMETOOLONG, ETXTBSY, ELIBBAD};
    bool is_about = false;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        is_about = is_about || error->error == errors[i];
    }
    return is_about && command->argc > 0 && error->stage == SPAWN_EXEC;
}

/*
 * Why a command was not started, in words. *status becomes 400 when it is the client's command, 503
 * when it has certainly not run and may be repeated later, otherwise 500; *code the error's.
 */
static void explain(const struct command *command, const struct spawn_error *error, int *status,
                    enum api_error *code, char message[ERROR_MESSAGE_SIZE])
{
    char buffer[128];
    const char *reason = strerror_r(error->error, buffer, sizeof(buffer));
    const char *before = "Cannot start the command: ", *after = "";
    *status = 400;
    *code = ERROR_invalid_request;
    if (command_is_shortage(error->error)) {
        *status = 503;
        *code = ERROR_unavailable;
        reason = error->error == EAGAIN ? "there are too many processes" : reason;
    } else if (error->error == ECHILD) {
        *status = 503;
        *code = ERROR_unavailable;
        reason = "the runners of procd die as they start (its log says why)";
    } else if (error->stage >= SPAWN_LIMIT && error->error == EOPNOTSUPP) {
        *code = ERROR_unsupported;
        before = "";
        after = " cannot be enforced: this server has no such cgroups";
        reason = command_limits[error->stage - SPAWN_LIMIT].name;
    } else if (error->stage == SPAWN_CHDIR && command->cwd != NULL) {
        before = "Invalid working directory: ";
        reason = command->cwd;
    } else if (is_about_program(command, error)) {
        *code = api_error_of_errno(error->error);
        *code = *code == ERROR_io_error ? ERROR_invalid_request : *code;
        (void)snprintf(message, ERROR_MESSAGE_SIZE, "Cannot execute %s: %s", command->argv[0],
                       reason);
        return;
    } else if (error->stage == SPAWN_TERMINAL && error->error == ENOSPC) {
        *status = 503;
        *code = ERROR_unavailable;
        reason = "there are too many terminals (kernel.pty.max)";
    } else if (error->error == E2BIG) {
        *code = ERROR_too_large;
        before = "The command or its environment is too large for the kernel: ";
    } else {
        *status = 500;
        *code = ERROR_cannot_start;
        before = error->stage == SPAWN_CONFINE    ? "Cannot limit the command: "
                 : error->stage == SPAWN_TERMINAL ? "Cannot open a terminal (/dev/ptmx): "
                                                  : before;
    }
    (void)snprintf(message, ERROR_MESSAGE_SIZE, "%s%s%s", before, reason, after);
}

void answer_procd_failure(struct request *request, enum procd_result result)
{
    log_request(LOG_ERR, request_id(request), "%s: %s", request_path(request),
                result == PROCD_UNREACHABLE   ? "procd is not reachable"
                : result == PROCD_RUNNER_LOST ? "the command's runner was killed"
                                              : "procd died meanwhile");
    if (result == PROCD_UNREACHABLE) {
        answer_error(request, 503, ERROR_unavailable, "The procd daemon is not available");
    } else if (result == PROCD_RUNNER_LOST) {
        answer_lost(request, COMMAND_LOST);
    } else {
        answer_lost(request, "The procd daemon died with the request: it may have been done");
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
    enum api_error code;
    char message[ERROR_MESSAGE_SIZE];
    explain(command, error, &status, &code, message);
    if (status >= 500) {
        errno = error->error;
        log_request(status == 503 ? LOG_WARNING : LOG_ERR, request_id(request),
                    "%s: cannot start the command: %m", request_path(request));
    }
    if (status == 503 || !streams || error->stage >= SPAWN_LIMIT) {
        answer_error(request, status, code, "%s", message);
    } else if (sse_begin(request) == 0) {
        (void)sse_error(request, "0", code, "%s", message);
    }
}

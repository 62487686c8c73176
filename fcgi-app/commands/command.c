/*
 * Reading commands, explaining failures.
 */
#include "fcgi-app/commands/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/logger.h"
#include "common/settings.h"
#include "common/signal_name.h"
#include "common/spool.h"
#include "fcgi-app/commands/run.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/http/sse.h"

/* Between SIGTERM and SIGKILL at a timeout. */
#define GRACE_DEFAULT_MS 2000

#define MEMBERS            11
#define MEMBERS_BACKGROUND 1 /* the last ones, of start_process alone */
#define MEMBERS_WITH(cmd_may_be_empty, kind_of_stdin)                                              \
    {                                                                                              \
        {.name = "cmd",                                                                            \
         .kind = JSON_TEXT,                                                                        \
         .required = true,                                                                         \
         .may_be_empty = (cmd_may_be_empty),                                                       \
         .missing = "Command is required"},                                                        \
            {.name = "cwd", .kind = JSON_TEXT}, {.name = "env", .kind = JSON_ENVIRONMENT},         \
            {.name = "timeout_ms", .kind = JSON_COUNT},                                            \
            {.name = "kill_grace_ms", .kind = JSON_COUNT},                                         \
            {.name = "merge_stderr", .kind = JSON_FLAG},                                           \
            {.name = "memory_max", .kind = JSON_COUNT}, {.name = "pids_max", .kind = JSON_COUNT},  \
            {.name = "cpu_max", .kind = JSON_COUNT}, {.name = "stdin", .kind = (kind_of_stdin)},   \
            {.name = "wait_tree", .kind = JSON_FLAG},                                              \
    }
static const struct json_member members[][MEMBERS] = {
    [COMMAND_FOREGROUND] = MEMBERS_WITH(true, JSON_CONTENT),
    [COMMAND_BACKGROUND] = MEMBERS_WITH(false, JSON_FLAG),
};

static const struct settings *configured;

void command_init(const struct settings *settings)
{
    configured = settings;
}

/* The operator's limit holds for who asks for no timeout, too. */
static uint64_t allowed_timeout(uint64_t asked_ms)
{
    uint64_t max_ms = configured->max_timeout_ms;
    bool too_long = max_ms != 0 && (asked_ms == 0 || asked_ms > max_ms);
    return too_long ? max_ms : asked_ms;
}

/* What is not asked for is left to the runner, which knows the operator's limits, too. */
static void read_limits(const struct json_body *body, struct command *command)
{
    for (int i = 0; i < CGROUP_LIMITS; i++) {
        enum cgroup_limit limit = (enum cgroup_limit)i;
        uint64_t asked = json_count(body, cgroup_limit_name(limit), 0);
        uint64_t most = cgroup_limit_setting(configured, limit);
        most = most == 0 ? cgroup_limit_most(limit) : most;
        command->limits[i] = asked > most ? most : asked;
    }
}

/* Of what there is too little at the moment: memory, descriptors, or processes (clone(2) and
 * execve(2) with RLIMIT_NPROC, pids.max, the machine's own limit). */
static bool is_shortage(int error)
{
    return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

static int keep_piece(void *context, const char *data, size_t length)
{
    return spool_write(context, data, length);
}

/*
 * The text of the command's standard input as a file of its own, so that nobody has to feed it. A
 * descriptor, or -1 with errno.
 */
static int open_input(const struct json_body *body)
{
    cleanup_(spool_freep) struct spool *spool = spool_new(spools_directory(), 0, 0);
    if (spool == NULL || json_content(body, "stdin", keep_piece, spool) != 0) {
        return -1;
    }
    return spool_open_reader(spool);
}

static void answer_input_failure(struct request *request, int error)
{
    static const char text[] = "The standard input could not be kept";
    const char *reason = error_text(error);
    if (is_shortage(error)) {
        answer_unavailable(request, "%s: %s", text, reason);
    } else {
        answer_error(request, 500, "%s: %s", text, reason);
    }
}

/*
 * Clients of event streams that were cut send the request again with Last-Event-ID, a POST among
 * them, and would run the command twice. Nobody else sends it. Answers then.
 */
static bool is_repeated(struct request *request)
{
    if (*request_last_event_id(request) == '\0') {
        return false;
    }
    answer_lost(
        request,
        "Last-Event-ID says that this request was sent before: the command may have run, and is "
        "not run again");
    return true;
}

struct json_body *command_read(struct request *request, enum command_use use,
                               struct command *command)
{
    cleanup_(json_freep) struct json_body *body =
        json_read(request, members[use],
                  use == COMMAND_BACKGROUND ? MEMBERS : MEMBERS - MEMBERS_BACKGROUND, 0);
    if (body == NULL || is_repeated(request)) {
        return NULL;
    }
    uint64_t grace_ms = json_count(body, "kill_grace_ms", GRACE_DEFAULT_MS);
    if (grace_ms > GRACE_MAX_MS) {
        answer_error(request, 400, "kill_grace_ms must be at most %d", GRACE_MAX_MS);
        return NULL;
    }
    *command = (struct command){.cmd = json_text(body, "cmd"),
                                .request_id = request_id(request),
                                .cwd = json_text(body, "cwd"),
                                .timeout_ms = allowed_timeout(json_count(body, "timeout_ms", 0)),
                                .grace_ms = grace_ms,
                                .merges_stderr = json_flag(body, "merge_stderr"),
                                .input = -1};
    read_limits(body, command);
    if (command->limits[CGROUP_MEMORY] != 0 && command->limits[CGROUP_MEMORY] < MEMORY_MAX_LEAST) {
        answer_error(request, 400, "memory_max must be at least %llu",
                     (unsigned long long)MEMORY_MAX_LEAST);
        return NULL;
    }
    command->env = json_environment(body, "env", &command->env_count);
    if (use == COMMAND_BACKGROUND) {
        command->keeps_stdin = json_flag(body, "stdin");
        command->wait_tree = json_flag(body, "wait_tree");
        return steal_pointer(body);
    }
    /* A client that hangs up waits for nothing: only one that asked for a grace has one then. */
    command->hangup_grace_ms = json_count(body, "kill_grace_ms", 0);
    if (json_is_given(body, "stdin")) {
        command->input = open_input(body);
        if (command->input < 0) {
            answer_input_failure(request, errno);
            return NULL;
        }
    }
    return steal_pointer(body);
}

/*
 * Why a command was not started. The text, owned by the caller, or NULL when memory is out; *status
 * is 400 when it is the client's command, 503 when it has certainly not run and may be repeated
 * later, otherwise 500.
 */
static char *explain(const struct command *command, const struct spawn_error *error, int *status)
{
    char buffer[128];
    char *message;
    const char *reason = strerror_r(error->error, buffer, sizeof(buffer));
    int length;
    *status = 400;
    if (is_shortage(error->error)) {
        *status = 503;
        length = asprintf(&message, "Cannot start the command: %s",
                          error->error == EAGAIN ? "there are too many processes" : reason);
    } else if (error->error == ECHILD) {
        *status = 503;
        length = asprintf(&message, "Cannot start the command: the runners of procd die as they "
                                    "start (its log says why)");
    } else if (error->stage >= SPAWN_LIMIT && error->error == EOPNOTSUPP) {
        length = asprintf(&message, "%s cannot be enforced: this server has no such cgroups",
                          cgroup_limit_name((enum cgroup_limit)(error->stage - SPAWN_LIMIT)));
    } else if (error->stage == SPAWN_CHDIR && command->cwd != NULL) {
        length = asprintf(&message, "Invalid working directory: %s", command->cwd);
    } else if (error->error == E2BIG) {
        length = asprintf(&message,
                          "The command or its environment is too large for the kernel: %s", reason);
    } else {
        *status = 500;
        length = asprintf(&message, "Cannot %s the command: %s",
                          error->stage == SPAWN_CONFINE ? "limit" : "start", reason);
    }
    return length < 0 ? NULL : message;
}

/* Why a command did not come to its own end. */
static const char *interruption(enum pump_result result)
{
    switch (result) {
    case PUMP_GONE:
        return "cancelled";
    case PUMP_STOPPING:
        return "stopping";
    case PUMP_REFUSED: /* by the client, or by a full disk, which is told by itself */
    case PUMP_FAILED:
    case PUMP_ENDED:
        break;
    }
    return "failed";
}

void command_log_end(const struct request *request, enum pump_result result,
                     const struct ending *ending)
{
    char signal[SIGNAL_NAME_SIZE];
    if (result != PUMP_ENDED || ending->lost) {
        log_request(LOG_INFO, request_id(request), "%s ended: reason=%s", request_path(request),
                    result == PUMP_ENDED ? end_reason_name(END_LOST) : interruption(result));
        return;
    }
    log_request(LOG_INFO, request_id(request), "%s " ENDING_FORMAT, request_path(request),
                end_reason_name(ending->reason), ending->code,
                ending->signal == 0 ? "-" : signal_name(ending->signal, signal),
                ending->duration_ms, ending->max_rss_kb);
}

void answer_procd_failure(struct request *request, enum procd_result result)
{
    if (result == PROCD_UNREACHABLE) {
        log_request(LOG_ERR, request_id(request), "%s: procd is not reachable",
                    request_path(request));
        answer_unavailable(request, "The procd daemon is not available");
    } else if (result == PROCD_RUNNER_LOST) {
        log_request(LOG_ERR, request_id(request), "%s: the command's runner was killed",
                    request_path(request));
        answer_lost(request, RUN_LOST);
    } else {
        log_request(LOG_ERR, request_id(request), "%s: procd died meanwhile",
                    request_path(request));
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
    cleanup_free char *message = explain(command, error, &status);
    if (status >= 500) {
        errno = error->error;
        log_request(status == 503 ? LOG_WARNING : LOG_ERR, request_id(request),
                    "%s: cannot start the command: %m", request_path(request));
    }
    const char *text = message == NULL ? "Out of memory" : message;
    if (status == 503) {
        answer_unavailable(request, "%s", text);
    } else if (!streams || error->stage >= SPAWN_LIMIT) {
        answer_error(request, status, "%s", text);
    } else if (sse_begin(request) == 0) {
        (void)sse_error(request, 0, "%s", text);
    }
}

/*
 * Orders to background processes: start, write to, end, forget. procd and the runners carry them
 * out; here a request becomes an order, and its result an answer.
 */
#include <signal.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/signal_name.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/commands/partial_lines.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/processes/input.h"
#include "fcgi-app/processes/process_id.h"
#include "fcgi-app/processes/start_terminal.h"
#include "fcgi-app/processes/start_wait.h"
#include "procd/wire/client.h"

/* ---- start ---- */

static void start_process(struct request *request, const struct json_body *body)
{
    struct command command;
    struct job job;
    struct spawn_error error;
    char term[TERM_VARIABLE_SIZE];
    int64_t partial_ms;
    cleanup_(port_wait_clear) struct port_wait wait = {.port = 0};
    if (!command_read(request, body, &command) ||
        !start_terminal_read(request, body, &command, term) ||
        !partial_lines_read(request, body, &partial_ms) || !start_wait_read(request, body, &wait)) {
        return;
    }
    command.splits_lines = partial_ms >= 0;
    command.partial_ms = command.splits_lines ? (uint64_t)partial_ms : 0;
    command.keeps_stdin = json_flag(body, "stdin");
    command.wait_tree = json_flag(body, "wait_tree");
    command.ordered = true;
    enum procd_result result = procd_start(&command, &job, &error);
    if (result == PROCD_TOO_MANY || result == PROCD_TOO_MANY_TERMINALS) {
        answer_error(request, 429, ERROR_too_many,
                     result == PROCD_TOO_MANY
                         ? "Too many background processes run at once (SANDBOX_MAX_JOBS)"
                         : "Too many terminals are open at once (SANDBOX_MAX_TERMINALS)");
        return;
    }
    if (result != PROCD_DONE) {
        answer_command_failure(request, &command, result, &error, false);
        return;
    }
    if (wait.port != 0) {
        start_wait_answer(request, &job, &wait);
        return;
    }
    answer_fields(request, 201,
                  FIELDS(TEXT_FIELD("id", job.id), NUMBER_FIELD("pid", job.pid),
                         TEXT_FIELD("status", job_status_name(job.status))));
}

static const struct json_member start_members[] = {
    COMMAND_MEMBERS(false),
    START_TERMINAL_MEMBERS,
    {JSON_MEMBER("stdin", FLAG, "Keeps standard input open for /write_stdin.")},
    PARTIAL_MEMBER,
    {JSON_MEMBER("wait_tree", FLAG, "The process ends when all that it has started has ended.")},
    START_WAIT_MEMBERS,
};
const struct endpoint start_process_endpoint = {
    API_ROW(start_process),
    .about = "Starts a command in the background.",
    MEMBERS(start_members),
    .handle = start_process,
};

/* {"success": true, "message": <message>} */
static void answer_done(struct request *request, const char *message)
{
    answer_fields(request, 200,
                  FIELDS(FLAG_FIELD("success", true), TEXT_FIELD("message", message)));
}

/* ---- kill ---- */

/* The signal that the request names, SIGTERM or SIGKILL if it names none; 0 after an answer. */
static int wanted_signal(struct request *request, const struct json_body *body, bool has_grace)
{
    const char *name = json_text(body, "signal");
    if (name == NULL) {
        return has_grace ? SIGTERM : SIGKILL;
    }
    int signal = signal_number(name);
    if (signal == 0) {
        answer_failure(request, 400, ERROR_invalid_request, "unknown signal: %s", name);
    }
    return signal;
}

static void kill_process(struct request *request, const struct json_body *body)
{
    struct kill_order order = {.has_grace = json_is_given(body, "grace_ms"),
                               .grace_ms = json_count(body, "grace_ms", 0),
                               .left = json_flag(body, "left")};
    if (order.grace_ms > GRACE_MAX_MS) {
        answer_failure(request, 400, ERROR_invalid_request, "grace_ms must be at most %d",
                       GRACE_MAX_MS);
        return;
    }
    order.signal = wanted_signal(request, body, order.has_grace);
    if (order.signal == 0) {
        return;
    }
    if (order.left && (order.has_grace || order.signal != SIGKILL)) {
        answer_failure(request, 400, ERROR_invalid_request,
                       "left goes with SIGKILL alone, and without grace_ms");
        return;
    }
    const char *id = json_text(body, "id");
    enum job_status status = JOB_FAILED;
    enum procd_result result = procd_kill(id, &order, &status);
    if (result == PROCD_NOT_RUNNING && order.left) {
        answer_failure(request, 400, ERROR_not_running,
                       "process has left nothing running (status: %s)", job_status_name(status));
    } else if (result != PROCD_DONE) {
        answer_refusal(request, result, id, status, 400);
    } else if (order.signal == SIGKILL || order.has_grace) {
        answer_done(request, "Process killed successfully");
    } else {
        answer_done(request, "Signal sent");
    }
}

static const struct json_member kill_members[] = {
    PROCESS_ID_MEMBER,
    {JSON_MEMBER("signal", TEXT_OR_INT, "A signal's name or number: SIGKILL.")},
    {JSON_MEMBER("grace_ms", COUNT, "The time between the signal and SIGKILL.")},
    {JSON_MEMBER("left", FLAG, "Ends what a process that has ended has left running.")},
};
const struct endpoint kill_process_endpoint = {
    API_ROW(kill_process),
    .about = "Ends a process with all that it has started, or sends it a signal.",
    MEMBERS(kill_members),
    .flags = JSON_ANSWER_FAILURE,
    .handle = kill_process,
};

/* ---- delete ---- */

static void delete_process(struct request *request, const struct json_body *body)
{
    const char *id = json_text(body, "id");
    enum job_status status = JOB_FAILED;
    enum procd_result result = procd_delete(id, &status);
    if (result == PROCD_DONE) {
        answer_done(request, "Process deleted");
    } else if (result == PROCD_NOT_RUNNING) {
        answer_failure(request, 400, ERROR_running, "process is running");
    } else {
        answer_refusal(request, result, id, status, 404);
    }
}

static const struct json_member delete_members[] = {PROCESS_ID_MEMBER};
const struct endpoint delete_process_endpoint = {
    API_ROW(delete_process),  .about = "Forgets a process that has ended, with its log.",
    MEMBERS(delete_members),  .flags = JSON_ANSWER_FAILURE,
    .handle = delete_process,
};

/* ---- standard input ---- */

static void write_stdin(struct request *request, const struct json_body *body)
{
    enum procd_result result;
    struct input_written written;
    if (!json_is_given(body, "data") && !json_flag(body, "eof")) {
        answer_failure(request, 400, ERROR_invalid_request, "data or eof is required");
        return;
    }
    if (!input_write(request, body, json_flag(body, "eof"), &result, &written)) {
        return;
    }
    if (result == PROCD_DONE) {
        answer_fields(request, 200,
                      FIELDS(FLAG_FIELD("success", true), NUMBER_FIELD("written", written.count),
                             FLAG_FIELD("full", !written.is_all)));
    } else {
        answer_refusal(request, result, json_text(body, "id"), written.status, 404);
    }
}

static const struct json_member write_members[] = {
    PROCESS_ID_MEMBER,
    {JSON_MEMBER("data", CONTENT, "What is written.")},
    {JSON_MEMBER("eof", FLAG, "Closes standard input behind it.")},
};
const struct endpoint write_stdin_endpoint = {
    API_ROW(write_stdin),   .about = "Writes to the standard input of a process.",
    MEMBERS(write_members), .flags = JSON_ANSWER_FAILURE,
    .handle = write_stdin,
};

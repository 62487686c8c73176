/*
 * Orders to background processes: start, write to, end, forget.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "common/signal_name.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/request.h"
#include "procd/wire/client.h"

/* ---- start ---- */

static void start_process(struct request *request)
{
    struct command command;
    cleanup_(json_freep) struct json_body *body =
        command_read(request, COMMAND_BACKGROUND, &command);
    if (body == NULL) {
        return;
    }
    struct job job;
    struct spawn_error error;
    command.ordered = true;
    enum procd_result result = procd_start(&command, &job, &error);
    if (result == PROCD_TOO_MANY) {
        answer_too_many(request,
                        "As many background processes run as may at once (SANDBOX_MAX_JOBS)");
        return;
    }
    if (result != PROCD_DONE) {
        answer_command_failure(request, &command, result, &error, false);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    if (cJSON_AddStringToObject(json, "id", job.id) == NULL ||
        cJSON_AddNumberToObject(json, "pid", job.pid) == NULL ||
        cJSON_AddStringToObject(json, "status", job_status_name(job.status)) == NULL) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json(request, 201, json);
}

const struct endpoint start_process_endpoint = {API_ROW(start_process), .handle = start_process};

/* ---- what they have in common ---- */

#define ID_MEMBER                                                                                  \
    {                                                                                              \
        .name = "id", .kind = JSON_TEXT, .required = true, .missing = "Process ID is required"     \
    }

/* {"success": true, "message": <message>} */
static void answer_message(struct request *request, const char *message)
{
    cJSON *json = cJSON_CreateObject();
    if (cJSON_AddTrueToObject(json, "success") == NULL ||
        cJSON_AddStringToObject(json, "message", message) == NULL) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json(request, 200, json);
}

/* Answers for a result other than PROCD_DONE. `not_found` is the status for an unknown id. */
static void answer_refusal(struct request *request, enum procd_result result, const char *id,
                           enum job_status status, int not_found)
{
    switch (result) {
    case PROCD_NOT_FOUND:
        answer_failure(request, not_found, "process not found: %s", id);
        break;
    case PROCD_NOT_RUNNING:
        answer_failure(request, 400, "process is not running (status: %s)",
                       job_status_name(status));
        break;
    case PROCD_NO_STDIN:
        answer_failure(request, 400, "process has no open stdin: %s", id);
        break;
    default:
        answer_procd_failure(request, result);
        break;
    }
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
        answer_failure(request, 400, "signal is none that is known: %s", name);
    }
    return signal;
}

static void kill_process(struct request *request)
{
    static const struct json_member members[] = {
        ID_MEMBER,
        {.name = "signal", .kind = JSON_TEXT_OR_INT},
        {.name = "grace_ms", .kind = JSON_COUNT},
        {.name = "left", .kind = JSON_FLAG},
    };
    cleanup_(json_freep) struct json_body *body =
        json_read(request, members, 4, JSON_ANSWER_FAILURE);
    if (body == NULL) {
        return;
    }
    struct kill_order order = {.has_grace = json_is_given(body, "grace_ms"),
                               .grace_ms = json_count(body, "grace_ms", 0),
                               .left = json_flag(body, "left")};
    if (order.grace_ms > GRACE_MAX_MS) {
        answer_failure(request, 400, "grace_ms must be at most %d", GRACE_MAX_MS);
        return;
    }
    order.signal = wanted_signal(request, body, order.has_grace);
    if (order.signal == 0) {
        return;
    }
    if (order.left && (order.has_grace || order.signal != SIGKILL)) {
        answer_failure(request, 400, "left goes with SIGKILL alone, and without grace_ms");
        return;
    }
    const char *id = json_text(body, "id");
    enum job_status status = JOB_FAILED;
    enum procd_result result = procd_kill(id, &order, &status);
    if (result == PROCD_NOT_RUNNING && order.left) {
        answer_failure(request, 400, "process has left nothing running (status: %s)",
                       job_status_name(status));
    } else if (result != PROCD_DONE) {
        answer_refusal(request, result, id, status, 400);
    } else if (order.signal == SIGKILL || order.has_grace) {
        answer_message(request, "Process killed successfully");
    } else {
        answer_message(request, "Signal sent");
    }
}

const struct endpoint kill_process_endpoint = {API_ROW(kill_process), .handle = kill_process};

/* ---- delete ---- */

static void delete_process(struct request *request)
{
    static const struct json_member members[] = {ID_MEMBER};
    cleanup_(json_freep) struct json_body *body =
        json_read(request, members, 1, JSON_ANSWER_FAILURE);
    if (body == NULL) {
        return;
    }
    const char *id = json_text(body, "id");
    enum job_status status = JOB_FAILED;
    enum procd_result result = procd_delete(id, &status);
    if (result == PROCD_DONE) {
        answer_message(request, "Process deleted");
    } else if (result == PROCD_NOT_RUNNING) {
        answer_failure(request, 400, "process is running");
    } else {
        answer_refusal(request, result, id, status, 404);
    }
}

const struct endpoint delete_process_endpoint = {API_ROW(delete_process), .handle = delete_process};

/* ---- standard input ---- */

struct input {
    char *data; /* PROCD_WRITE_MAX bytes */
    size_t length;
    bool is_cut; /* there was more */
};

static int take_input(void *context, const char *data, size_t length)
{
    struct input *input = context;
    size_t room = PROCD_WRITE_MAX - input->length;
    size_t taken = length < room ? length : room;
    memcpy(input->data + input->length, data, taken);
    input->length += taken;
    input->is_cut = taken < length;
    return input->is_cut;
}

static void answer_written(struct request *request, size_t written, bool all)
{
    cJSON *json = cJSON_CreateObject();
    if (cJSON_AddTrueToObject(json, "success") == NULL ||
        cJSON_AddNumberToObject(json, "written", (double)written) == NULL ||
        cJSON_AddBoolToObject(json, "full", !all) == NULL) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json(request, 200, json);
}

static void write_stdin(struct request *request)
{
    static const struct json_member members[] = {
        ID_MEMBER,
        {.name = "data", .kind = JSON_CONTENT},
        {.name = "eof", .kind = JSON_FLAG},
    };
    cleanup_(json_freep) struct json_body *body =
        json_read(request, members, 3, JSON_ANSWER_FAILURE);
    cleanup_free char *data = body == NULL ? NULL : malloc(PROCD_WRITE_MAX);
    struct input input = {.data = data};
    if (body == NULL) {
        return;
    }
    if (!json_is_given(body, "data") && !json_flag(body, "eof")) {
        answer_failure(request, 400, "data or eof is required");
        return;
    }
    if (data == NULL) {
        answer_failure(request, 500, "Out of memory");
        return;
    }
    (void)json_content(body, "data", take_input, &input);
    const char *id = json_text(body, "id");
    enum job_status status = JOB_FAILED;
    size_t written;
    bool eof = json_flag(body, "eof") && !input.is_cut;
    enum procd_result result = procd_write(id, data, input.length, eof, &written, &status);
    if (result == PROCD_DONE) {
        answer_written(request, written, written == input.length && !input.is_cut);
    } else {
        answer_refusal(request, result, id, status, 404);
    }
}

const struct endpoint write_stdin_endpoint = {API_ROW(write_stdin), .handle = write_stdin};

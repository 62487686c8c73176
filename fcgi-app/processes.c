/*
 * Background processes: start, list, kill.
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/cleanup.h"
#include "fcgi-app/command.h"
#include "fcgi-app/endpoint.h"
#include "fcgi-app/json.h"
#include "fcgi-app/request.h"
#include "fcgi-app/writer.h"
#include "procd/client.h"

#define LIST_BUFFER ((size_t)16384)

/* ---- start ---- */

static void start_process(struct request *request)
{
    cleanup_(json_freep) struct json_body *body =
        json_read(request, command_members, COMMAND_MEMBERS, 0);
    if (body == NULL) {
        return;
    }
    struct job job;
    struct spawn_error error;
    struct command command = command_of(body);
    enum procd_result result = procd_start(&command, &job, &error);
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

const struct endpoint start_process_endpoint = {"/start_process", METHOD_POST, start_process};

/* ---- list ---- */

struct listing {
    struct writer writer;
    bool any;
    int result;
};

static void list_job(void *context, const struct job *job)
{
    struct listing *listing = context;
    struct writer *writer = &listing->writer;
    if (listing->result == 0 &&
        (writer_format(writer, "%s{\"id\":\"%s\",\"pid\":%d,\"status\":\"%s\",\"command\":\"",
                       listing->any ? "," : "", job->id, (int)job->pid,
                       job_status_name(job->status)) < 0 ||
         writer_text(writer, job->command, strlen(job->command)) < 0 ||
         writer_string(writer, "\"}") < 0)) {
        listing->result = -1;
    }
    listing->any = true;
}

static void list_processes(struct request *request)
{
    struct listing listing = {.any = false};
    if (writer_init(&listing.writer, request, LIST_BUFFER, false) < 0) {
        answer_error(request, 500, "Out of memory");
        return;
    }
    (void)writer_string(&listing.writer, "{\"processes\":[");
    enum procd_result result = procd_list(list_job, &listing);
    if (result != PROCD_DONE) {
        answer_procd_failure(request, result);
    } else if (listing.result == 0 && writer_string(&listing.writer, "]}") == 0) {
        (void)writer_finish(&listing.writer);
    }
    writer_clear(&listing.writer);
}

const struct endpoint list_processes_endpoint = {"/list_processes", METHOD_GET, list_processes};

/* ---- kill ---- */

static void answer_killed(struct request *request)
{
    cJSON *json = cJSON_CreateObject();
    if (cJSON_AddTrueToObject(json, "success") == NULL ||
        cJSON_AddStringToObject(json, "message", "Process killed successfully") == NULL) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json(request, 200, json);
}

static void kill_process(struct request *request)
{
    static const struct json_member members[] = {
        {.name = "id", .kind = JSON_TEXT, .required = true, .missing = "Process ID is required"}};
    cleanup_(json_freep) struct json_body *body =
        json_read(request, members, 1, JSON_ANSWER_FAILURE);
    if (body == NULL) {
        return;
    }
    const char *id = json_text(body, "id");
    enum job_status status;
    enum procd_result result = procd_kill(id, &status);
    switch (result) {
    case PROCD_DONE:
        answer_killed(request);
        break;
    case PROCD_NOT_FOUND:
        answer_failure(request, 400, "process not found: %s", id);
        break;
    case PROCD_NOT_RUNNING:
        answer_failure(request, 400, "process is not running (status: %s)",
                       job_status_name(status));
        break;
    default:
        answer_procd_failure(request, result);
        break;
    }
}

const struct endpoint kill_process_endpoint = {"/kill_process", METHOD_POST, kill_process};

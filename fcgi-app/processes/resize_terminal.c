/*
 * POST /resize_terminal: the size of a background process's terminal.
 */
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/processes/input.h"
#include "fcgi-app/processes/process_id.h"
#include "fcgi-app/processes/start_terminal.h"
#include "procd/wire/client.h"

static void answer_resized(struct request *request, const char *id, enum procd_result result,
                           enum job_status status)
{
    if (result == PROCD_DONE) {
        answer_fields(request, 200, FIELDS(FLAG_FIELD("success", true)));
    } else if (result == PROCD_NO_STDIN) {
        answer_failure(request, 400, ERROR_unsupported, "process has no terminal: %s", id);
    } else {
        answer_refusal(request, result, id, status, 404);
    }
}

static void resize_terminal(struct request *request, const struct json_body *body)
{
    int cols;
    int rows;
    const char *problem = NULL;
    bool is_whole = json_is_given(body, "cols") && json_is_given(body, "rows");
    if (!is_whole || !terminal_size_wanted(body, &cols, &rows, &problem)) {
        answer_failure(request, 400, ERROR_invalid_request, "%s",
                       is_whole ? problem : "cols and rows are required");
        return;
    }
    const char *id = json_text(body, "id");
    enum job_status status = JOB_FAILED;
    answer_resized(request, id, procd_resize(id, cols, rows, &status), status);
}

static const struct json_member resize_members[] = {
    PROCESS_ID_MEMBER,
    {JSON_MEMBER("cols", COUNT, "The width in characters.")},
    {JSON_MEMBER("rows", COUNT, "The height in lines.")},
};
const struct endpoint resize_terminal_endpoint = {
    API_ROW(resize_terminal),  .about = "Sets the size of a process's terminal.",
    MEMBERS(resize_members),   .flags = JSON_ANSWER_FAILURE,
    .handle = resize_terminal,
};

#include "fcgi-app/processes/input.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/json_body.h"

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

bool input_write(struct request *request, const struct json_body *body, bool eof,
                 enum procd_result *result, struct input_written *written)
{
    cleanup_free char *data = malloc(PROCD_WRITE_MAX);
    struct input input = {.data = data};
    *written = (struct input_written){.status = JOB_FAILED};
    if (data == NULL) {
        answer_failure(request, 500, ERROR_internal, "Out of memory");
        return false;
    }
    (void)json_content(body, "data", take_input, &input);
    *result = procd_write(json_text(body, "id"), data, input.length, eof && !input.is_cut,
                          &written->count, &written->status);
    written->is_all = written->count == input.length && !input.is_cut;
    return true;
}

void answer_refusal(struct request *request, enum procd_result result, const char *id,
                    enum job_status status, int not_found)
{
    switch (result) {
    case PROCD_NOT_FOUND:
        answer_failure(request, not_found, ERROR_not_found, "process not found: %s", id);
        break;
    case PROCD_NOT_RUNNING:
        answer_failure(request, 400, ERROR_not_running, "process is not running (status: %s)",
                       job_status_name(status));
        break;
    case PROCD_LINE_TOO_LONG:
        answer_failure(request, 400, ERROR_too_large,
                       "the terminal is in canonical mode, which keeps 4095 bytes of a line: "
                       "nothing was written");
        break;
    case PROCD_NO_STDIN:
        answer_failure(request, 400, ERROR_no_stdin, "process has no open stdin: %s", id);
        break;
    default: answer_procd_failure(request, result); break;
    }
}

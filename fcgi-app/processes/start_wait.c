#include "fcgi-app/processes/start_wait.h"

#include <errno.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/rfc3339.h"
#include "common/signal_name.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/lasting.h"
#include "fcgi-app/ports/port_number.h"
#include "fcgi-app/processes/job_end.h"

bool start_wait_read(struct request *request, const struct json_body *body, struct port_wait *wait)
{
    *wait = (struct port_wait){
        .timeout_ms = (int64_t)json_count(body, "wait_timeout_ms", PORT_WAIT_MS), .job = -1};
    if (!json_is_given(body, "wait_port")) {
        if (json_is_given(body, "wait_timeout_ms")) {
            answer_error(request, 400, ERROR_invalid_request,
                         "wait_timeout_ms goes with wait_port");
            return false;
        }
        return true;
    }
    wait->port = port_wanted(request, body, "wait_port");
    if (wait->port == 0 || !lasting_begin(request)) {
        return false;
    }
    if (port_wait_ignore_present(wait) < 0) {
        answer_error(request, 500, api_error_of_errno(errno), "The ports cannot be listed: %s",
                     error_text(errno));
        return false;
    }
    return true;
}

static void answer_ended(struct request *request, const struct job *job)
{
    const uint64_t second = 1000000000;
    char signal[SIGNAL_NAME_SIZE], time[RFC3339_SIZE];
    bool has_signal = job->ending.signal != 0;
    answer_fields(
        request, 201,
        FIELDS(TEXT_FIELD("id", job->id), NUMBER_FIELD("pid", job->pid),
               TEXT_FIELD("status", job_status_name(job->status)), FLAG_FIELD("listening", false),
               TEXT_FIELD("ended_at", rfc3339_format((int64_t)(job->ended_at / second),
                                                     (uint32_t)(job->ended_at % second), time)),
               NUMBER_FIELD("exit_code", job->ending.code),
               TEXT_FIELD("signal", has_signal ? signal_name(job->ending.signal, signal) : NULL),
               TEXT_FIELD("reason", end_reason_name(job->ending.reason))));
}

void start_wait_answer(struct request *request, struct job *job, struct port_wait *wait)
{
    cleanup_fd int directory = -1;
    if (procd_open_job(job->id, &directory) == PROCD_DONE) { /* otherwise its end is not noticed */
        wait->job = directory;
    }
    enum port_wait_end end = port_wait(request, wait);
    if (end == PORT_JOB_ENDED && job_end_read(directory, job)) {
        answer_ended(request, job);
    } else if (end != PORT_CLIENT_LEFT) {
        answer_fields(request, 201,
                      FIELDS(TEXT_FIELD("id", job->id), NUMBER_FIELD("pid", job->pid),
                             TEXT_FIELD("status", job_status_name(job->status)),
                             FLAG_FIELD("listening", end == PORT_LISTENS)));
    }
}

#include "fcgi-app/commands/foreground.h"

#include "common/cleanup.h"
#include "common/logger.h"
#include "common/signal_name.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/commands/input_file.h"
#include "fcgi-app/commands/run_table.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/http/stopping.h"

/* Reads the command with its standard input, which the caller closes. False when the request has
 * been answered. */
static bool read_foreground(struct request *request, const struct json_body *body,
                            struct command *command)
{
    if (!command_read(request, body, command)) {
        return false;
    }
    /* A client that hangs up waits for nothing: only one that asked for a grace has one then. */
    command->hangup_grace_ms = json_count(body, "kill_grace_ms", 0);
    return input_file_open(request, body, &command->input);
}

/* Why a command did not come to its own end. A full disk, which is "failed" as well, is logged
 * apart. */
static const char *interruption(enum pump_result result)
{
    return result == PUMP_GONE ? "cancelled" : result == PUMP_STOPPING ? "stopping" : "failed";
}

static void log_end(const struct request *request, enum pump_result result,
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

/* Ends what is left of a command that was interrupted, and notes it. A sink that has no error of
 * its own has lost its client. */
static void end_interrupted(struct foreground *foreground, enum pump_result result, int sink_error,
                            struct run_note *note)
{
    bool is_gone = result == PUMP_GONE || (result == PUMP_REFUSED && sink_error == 0);
    struct ending ending;
    pump_await_end(foreground, &ending);
    run_note_end(note,
                 is_gone                   ? RUN_STATE_CANCELLED
                 : result == PUMP_STOPPING ? RUN_STATE_STOPPED
                                           : RUN_STATE_FAILED,
                 &ending);
}

/* From the start of the command to its end. */
static void pump_foreground(struct request *request, struct foreground *foreground,
                            const struct foreground_answer *answer, void *context,
                            const int *sink_error, struct run_note *note)
{
    struct ending ending = {.lost = true};
    enum pump_result result = pump_to_end(foreground, request, &answer->sink, context, &ending);
    const char *failure = pump_failure(result, *sink_error);
    log_end(request, result, &ending);
    if (result == PUMP_ENDED) {
        /* The client that has the answer finds the end in the list. */
        run_note_end(note, ending.lost ? RUN_STATE_LOST : RUN_STATE_ENDED, &ending);
        pump_keep_runner(foreground, &ending); /* a client may read the answer slowly */
        failure = answer->finish(context, &ending);
    }
    if (failure != NULL) {
        log_request(is_stopping() ? LOG_NOTICE : LOG_ERR, request_id(request), "%s: %s",
                    request_path(request), failure);
        answer->fail(context, failure);
    }
    if (result != PUMP_ENDED) {
        end_interrupted(foreground, result, *sink_error, note);
    }
}

void foreground_run(struct request *request, const struct json_body *body,
                    const struct foreground_answer *answer, void *context, const int *sink_error)
{
    struct command command;
    if (!read_foreground(request, body, &command)) {
        return;
    }
    cleanup_fd int input = command.input;
    cleanup_(admission_leave) struct admission admission = {0};
    if (!admission_enter(&admission, ADMISSION_RUN, request)) {
        return;
    }
    command.ordered = answer->streams;
    cleanup_(foreground_end) struct foreground foreground = FOREGROUND_NONE;
    struct spawn_error error;
    enum procd_result result = procd_run(&command, &foreground, &error);
    close_fd(&input);
    if (result != PROCD_DONE) {
        answer_command_failure(request, &command, result, &error, answer->streams);
        return;
    }
    struct run_note note;
    run_note_begin(&note, &command, answer->streams, &foreground);
    if (!answer->streams || sse_begin(request) == 0) {
        pump_foreground(request, &foreground, answer, context, sink_error, &note);
    } else {
        end_interrupted(&foreground, PUMP_GONE, 0, &note);
    }
}

/*
 * GET /list_runs and POST /kill_run: the commands of /run and /run_streaming, as the table has
 * them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "common/rfc3339.h"
#include "common/signal_name.h"
#include "fcgi-app/commands/run_table.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/writer.h"

/* Why a command ended, or NULL while it runs. */
static const char *reason_name(const struct run_entry *entry)
{
    static const char *const names[RUN_STATES] = {
        [RUN_STATE_CANCELLED] = "cancelled",
        [RUN_STATE_STOPPED] = "stopping",
        [RUN_STATE_FAILED] = "failed",
        [RUN_STATE_LOST] = "lost",
    };
    return entry->state == RUN_STATE_ENDED ? end_reason_name(entry->ending.reason)
                                           : names[entry->state];
}

/* ---- list ---- */

static void write_text_or_null(struct writer *writer, const char *name, const char *text)
{
    (void)writer_format(writer, ",\"%s\":", name);
    if (text == NULL) {
        (void)writer_string(writer, "null");
        return;
    }
    (void)writer_string(writer, "\"");
    (void)writer_text(writer, text, strlen(text));
    (void)writer_string(writer, "\"");
}

static void write_time_or_null(struct writer *writer, const char *name, uint64_t ns)
{
    const uint64_t second = 1000000000;
    char time[RFC3339_SIZE];
    write_text_or_null(
        writer, name,
        ns == 0 ? NULL : rfc3339_format((int64_t)(ns / second), (uint32_t)(ns % second), time));
}

static void write_record(struct writer *writer, const struct ending *ending)
{
    char signal[SIGNAL_NAME_SIZE];
    if (ending->lost) {
        (void)writer_string(writer, ",\"exit_code\":null,\"signal\":null,\"duration_ms\":null,"
                                    "\"cpu_user_ms\":null,\"cpu_system_ms\":null,"
                                    "\"max_rss_kb\":null}");
        return;
    }
    (void)writer_format(writer, ",\"exit_code\":%d", ending->code);
    write_text_or_null(writer, "signal",
                       ending->signal == 0 ? NULL : signal_name(ending->signal, signal));
    (void)writer_format(writer,
                        ",\"duration_ms\":%" PRIu64 ",\"cpu_user_ms\":%" PRIu64
                        ",\"cpu_system_ms\":%" PRIu64 ",\"max_rss_kb\":%" PRIu64 "}",
                        ending->duration_ms, ending->cpu_user_ms, ending->cpu_system_ms,
                        ending->max_rss_kb);
}

static void write_run(struct writer *writer, const struct run_entry *entry)
{
    (void)writer_format(writer, "{\"id\":\"%s\",\"pid\":%d,\"status\":\"%s\"", entry->id,
                        (int)entry->pid, entry->state == RUN_STATE_RUNNING ? "running" : "ended");
    write_text_or_null(writer, "endpoint", entry->streams ? "/run_streaming" : "/run");
    write_text_or_null(writer, "request_id", entry->request_id);
    write_text_or_null(writer, "command", entry->command);
    write_time_or_null(writer, "started_at", entry->started_at);
    write_time_or_null(writer, "ended_at", entry->ended_at);
    write_text_or_null(writer, "reason", reason_name(entry));
    write_record(writer, &entry->ending);
}

static void list_runs(struct request *request, const struct json_body *body)
{
    (void)body;
    char buffer[16384];
    cleanup_free struct run_entry *entries = NULL;
    size_t count;
    if (run_table_copy(&entries, &count) < 0) {
        answer_error(request, 503, ERROR_unavailable, "Out of memory");
        return;
    }
    struct writer writer = writer_over(request, buffer, sizeof(buffer), 200);
    (void)writer_string(&writer, "{\"runs\":[");
    for (size_t i = 0; i < count; i++) {
        (void)writer_string(&writer, i == 0 ? "" : ",");
        write_run(&writer, &entries[i]);
    }
    (void)writer_string(&writer, "]}");
    (void)writer_finish(&writer);
}

const struct endpoint list_runs_endpoint = {
    API_ROW(list_runs),
    .about =
        "Lists the commands of /run and /run_streaming that run, and the last that have ended.",
    .handle = list_runs,
};

/* ---- kill ---- */

static void kill_run(struct request *request, const struct json_body *body)
{
    const char *id = json_text(body, "id");
    struct run_entry entry;
    switch (run_table_kill(id, &entry)) {
    case RUN_KILL_DONE:
        answer_fields(
            request, 200,
            FIELDS(FLAG_FIELD("success", true), TEXT_FIELD("message", "Run killed successfully")));
        break;
    case RUN_KILL_NOT_FOUND:
        answer_failure(request, 404, ERROR_not_found, "run not found: %s", id);
        break;
    case RUN_KILL_HAS_ENDED:
        answer_failure(request, 409, ERROR_not_running, "run is not running (%s)",
                       reason_name(&entry) == NULL ? "it is being ended" : reason_name(&entry));
        break;
    case RUN_KILL_FAILED:
        answer_failure(request, 503, ERROR_unavailable, "The order could not be sent: %s",
                       error_text(errno));
        break;
    case RUN_KILL_UNFINISHED:
        answer_failure(request, 409, ERROR_running, "run was killed, and has not ended yet");
        break;
    }
}

static const struct json_member kill_run_members[] = {
    {JSON_MEMBER("id", TEXT, "The id of the run, from /list_runs."), .required = true},
};
const struct endpoint kill_run_endpoint = {
    API_ROW(kill_run),
    .about = "Ends the command of a /run or /run_streaming with all that it has started.",
    MEMBERS(kill_run_members),
    .flags = JSON_ANSWER_FAILURE,
    .handle = kill_run,
};

/*
 * Describes background processes: all of them, one, or one when it has ended. Each is rendered when
 * procd hands it out, so that a long list needs little memory.
 */
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "common/logger.h"
#include "common/rfc3339.h"
#include "common/signal_name.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/stopping.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/processes/known_list.h"
#include "fcgi-app/processes/process_id.h"
#include "procd/log/event_id.h"
#include "procd/wire/client.h"

/* ---- rendering ---- */

struct listing {
    struct writer writer;
    bool is_short; /* only the members that published clients know */
    bool any;
    char buffer[16384]; /* the writer's */
};

static void write_text_member(struct writer *writer, const char *name, const char *text)
{
    (void)writer_format(writer, ",\"%s\":\"", name);
    (void)writer_text(writer, text, strlen(text));
    (void)writer_string(writer, "\"");
}

static void write_time_member(struct writer *writer, const char *name, uint64_t ns)
{
    const uint64_t second = 1000000000;
    char time[RFC3339_SIZE];
    (void)writer_format(writer, ",\"%s\":\"%s\"", name,
                        rfc3339_format((int64_t)(ns / second), (uint32_t)(ns % second), time));
}

/* What the entries of both lists begin with. Published clients make an object of a short entry,
 * ProcessInfo(**entry), which takes no other members than these and those of the end. */
static void write_start(struct writer *writer, const struct job *job, const char *cwd)
{
    (void)writer_format(writer, "{\"id\":\"%s\",\"pid\":%d,\"status\":\"%s\"", job->id,
                        (int)job->pid, job_status_name(job->status));
    write_text_member(writer, "command", job->command);
    if (cwd != NULL) {
        write_text_member(writer, "cwd", cwd);
    }
    write_time_member(writer, "started_at", job->started_at);
}

static void write_short(struct writer *writer, const struct job *job)
{
    write_start(writer, job, NULL);
    if (job->status != JOB_RUNNING) {
        (void)writer_format(writer, ",\"exit_code\":%d", job->ending.code);
        write_time_member(writer, "completed_at", job->ended_at);
    }
}

static void write_end(struct writer *writer, const struct job *job)
{
    char signal[SIGNAL_NAME_SIZE];
    if (job->status == JOB_RUNNING) {
        (void)writer_string(writer, ",\"ended_at\":null,\"exit_code\":null,\"signal\":null,"
                                    "\"reason\":null,\"cpu_user_ms\":null,\"cpu_system_ms\":null,"
                                    "\"max_rss_kb\":null");
        return;
    }
    write_time_member(writer, "ended_at", job->ended_at);
    (void)writer_format(writer, ",\"exit_code\":%d,\"signal\":", job->ending.code);
    (void)(job->ending.signal == 0
               ? writer_string(writer, "null")
               : writer_format(writer, "\"%s\"", signal_name(job->ending.signal, signal)));
    (void)writer_format(writer,
                        ",\"reason\":\"%s\",\"cpu_user_ms\":%" PRIu64 ",\"cpu_system_ms\":%" PRIu64
                        ",\"max_rss_kb\":%" PRIu64,
                        end_reason_name(job->ending.reason), job->ending.cpu_user_ms,
                        job->ending.cpu_system_ms, job->ending.max_rss_kb);
}

/* Where the log begins and ends: the id of its oldest event, and the one the next will have. */
static void write_log(struct writer *writer, const struct job *job)
{
    const struct job_position *position = &job->position;
    if (!job->has_position || job->cols != 0) {
        (void)writer_string(writer,
                            ",\"log_first_id\":null,\"log_next_id\":null,\"lines_dropped\":null");
        return;
    }
    char first[EVENT_ID_SIZE], next[EVENT_ID_SIZE];
    (void)event_id_render(job->id, position->first_offset, position->first_line, first);
    (void)event_id_render(job->id, position->next_offset, position->next_line, next);
    (void)writer_format(
        writer, ",\"log_first_id\":\"%s\",\"log_next_id\":\"%s\",\"lines_dropped\":%" PRIu64, first,
        next, position->lines_dropped);
}

/* The terminal of a job, and where its output begins and ends, in bytes. */
static void write_terminal(struct writer *writer, const struct job *job)
{
    if (job->cols == 0) {
        return;
    }
    (void)writer_format(writer, ",\"pty\":{\"cols\":%d,\"rows\":%d", job->cols, job->rows);
    if (job->has_position) {
        (void)writer_format(writer, ",\"first_offset\":%" PRIu64 ",\"next_offset\":%" PRIu64,
                            job->position.first_offset, job->position.next_offset);
    }
    (void)writer_string(writer, "}");
}

/* What a job that has ended has left running. */
static void write_left(struct writer *writer, const struct job *job)
{
    (void)writer_string(writer, ",\"left\":[");
    for (size_t i = 0; i < job->left_count; i++) {
        const struct left_process *left = &job->left[i];
        (void)writer_format(writer, "%s{\"pid\":%d", i == 0 ? "" : ",", (int)left->pid);
        write_text_member(writer, "command", left->name);
        (void)writer_string(writer, "}");
    }
    (void)writer_string(writer, "]");
}

static void list_job(void *context, const struct job *job)
{
    struct listing *listing = context;
    struct writer *writer = &listing->writer;
    (void)writer_string(writer, listing->any ? "," : "");
    listing->any = true;
    if (listing->is_short) {
        write_short(writer, job);
    } else {
        write_start(writer, job, job->cwd);
        write_end(writer, job);
        write_log(writer, job);
        write_terminal(writer, job);
        write_left(writer, job);
    }
    (void)writer_string(writer, "}");
}

/* Ends the answer that holds the jobs, or reports why procd did not hand them out. */
static void listing_finish(struct request *request, struct listing *listing,
                           enum procd_result result, const char *id)
{
    if (result == PROCD_NOT_FOUND) {
        answer_error(request, 404, ERROR_not_found, "process not found: %s", id);
    } else if (result != PROCD_DONE && listing->writer.begun) {
        log_request(LOG_ERR, request_id(request), "%s: procd went away", request_path(request));
        request_abort(request); /* half a list must not look whole */
    } else if (result != PROCD_DONE) {
        answer_procd_failure(request, result);
    } else {
        (void)writer_finish(&listing->writer);
    }
}

static void listing_begin(struct request *request, struct listing *listing)
{
    listing->writer = writer_over(request, listing->buffer, sizeof(listing->buffer), 200);
    listing->is_short = listing->any = false;
}

/* ---- the endpoints ---- */

static void list_processes(struct request *request, const struct json_body *query)
{
    struct listing listing;
    struct list_moment moment = known_list_now();
    bool full = json_flag(query, "full");
    enum procd_result result = PROCD_DONE;
    listing_begin(request, &listing);
    if (full || !known_list_write(&listing.writer)) {
        listing.is_short = !full;
        (void)writer_string(&listing.writer, "{\"processes\":[");
        result = procd_list(full, list_job, &listing);
        (void)writer_string(&listing.writer, "]}");
        if (!full && result == PROCD_DONE && !listing.writer.begun) {
            known_list_keep(moment, listing.writer.data, listing.writer.used);
        }
    }
    listing_finish(request, &listing, result, "");
}

static const struct json_member list_parameters[] = {
    {JSON_MEMBER("full", FLAG, "Everything, as /get_process answers it.")},
};
const struct endpoint list_processes_endpoint = {
    API_ROW(list_processes),
    .about = "Lists the background processes, the oldest first.",
    MEMBERS(list_parameters),
    .handle = list_processes,
};

static void get_process(struct request *request, const struct json_body *query)
{
    struct listing listing;
    const char *id = json_text(query, "id");
    listing_begin(request, &listing);
    listing_finish(request, &listing, procd_get(id, list_job, &listing), id);
}

static const struct json_member get_parameters[] = {PROCESS_ID_MEMBER};
const struct endpoint get_process_endpoint = {
    API_ROW(get_process),
    .about = "Describes a background process.",
    MEMBERS(get_parameters),
    .handle = get_process,
};

/* Waits until the process has ended, the client has left or the server stops. */
static void wait_process(struct request *request, const struct json_body *body)
{
    struct listing listing;
    const struct pollfd others[] = {{.fd = request_fd(request), .events = POLLRDHUP},
                                    {.fd = stopping_fd(), .events = POLLIN}};
    const char *id = json_text(body, "id");
    /* JSON_COUNT_MAX ms are 285,000 years. */
    int64_t timeout_ms =
        json_is_given(body, "timeout_ms") ? (int64_t)json_count(body, "timeout_ms", 0) : -1;
    listing_begin(request, &listing);
    enum procd_result result = procd_wait(id, timeout_ms, others, 2, list_job, &listing);
    if (result != PROCD_INTERRUPTED) {
        listing_finish(request, &listing, result, id);
    } else if (!request_gone(request)) {
        answer_stopping(request);
    }
}

static const struct json_member wait_members[] = {
    PROCESS_ID_MEMBER,
    {JSON_MEMBER("timeout_ms", COUNT, "The longest time to wait.")},
};
const struct endpoint wait_process_endpoint = {
    API_ROW(wait_process),
    .about = "Waits until a process has ended, and describes it.",
    MEMBERS(wait_members),
    .handle = wait_process,
};

#include "fcgi-app/status/server_state.h"

#include "common/clock.h"
#include "common/log_drops.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/places.h"
#include "fcgi-app/ports/held_places.h"
#include "fcgi-app/uploads/upload_record.h"

#define OF(member)        offsetof(struct server_state, member)
#define OF_DAEMON(member) offsetof(struct daemon_status, member)

const struct figure server_figures[] = {
    {OF(procd.uptime_ms), "", "uptime_ms", "uptime_seconds", 1e-3, "gauge",
     "Since the server was started."},
    {OF(requests), "queue", "requests", "requests_in_progress", 1, "gauge",
     "Requests at fcgi-app, this one included."},
    {OF(runs), "queue", "runs", "running_runs", 1, "gauge",
     "Commands of /run and /run_streaming that run."},
    {OF(streams), "queue", "streams", "open_streams", 1, "gauge",
     "Streams of logs, ports and changes of files, and requests to /read_output that wait."},
    {OF(held), "queue", "held", "held_requests", 1, "gauge",
     "Requests to ports that wait until somebody listens."},
    {OF(uploads), "queue", "uploads", "open_uploads", 1, "gauge",
     "Uploads of /uploads that are not finished."},
    {OF(procd.running), "queue", "jobs", "running_jobs", 1, "gauge",
     "Background processes that run."},
    {OF(terminals), "queue", "terminals", "running_terminals", 1, "gauge",
     "Those of them that have a terminal."},
    {OF(procd.runners), "queue", "runners", "runners", 1, "gauge",
     "Processes that own a command's tree, or wait for one."},
    {OF(procd.idle_runners), "queue", "idle_runners", "idle_runners", 1, "gauge",
     "Those of them that wait."},
    {OF(procd.disk_free), "disk", "free_bytes", "disk_free_bytes", 1, "gauge",
     "Of the file system with the logs, for the server."},
    {OF(procd.disk_total), "disk", "total_bytes", "disk_size_bytes", 1, "gauge",
     "Of the file system with the logs."},
    {OF(log_bytes), "disk", "log_bytes", "log_bytes", 1, "gauge",
     "Logs of background processes on disk."},
    {OF(dropped_lines), "log", "dropped_lines", "dropped_log_lines_total", 1, "counter",
     "Lines of the server's own log, and of nginx's where the server writes it, that were "
     "dropped: nobody read them, or the disk was full."},
    {.member = NULL},
};

const struct figure daemon_figures[] = {
    {.offset = OF_DAEMON(pid), .object = "", .member = "pid"},
    {OF_DAEMON(restarts), "", "restarts", "daemon_restarts_total", 1, "counter",
     "Starts of a daemon after the first, of this server."},
    {OF_DAEMON(rss_kb), "", "rss_kb", "daemon_resident_memory_bytes", 1024, "gauge",
     "Resident memory of a daemon. nginx is its master with the workers, in all of these."},
    {OF_DAEMON(descriptors), "", "descriptors", "daemon_open_fds", 1, "gauge",
     "Open descriptors of a daemon."},
    {OF_DAEMON(threads), "", "threads", "daemon_threads", 1, "gauge", "Threads of a daemon."},
    {.member = NULL},
};

static void add_job(void *context, const struct job *job)
{
    struct server_state *state = context;
    state->log_bytes += (int64_t)(job->position.next_offset - job->position.first_offset);
    state->terminals += job->cols > 0 && job->status == JOB_RUNNING;
}

/* Logs and terminals; unknown when procd does not answer. */
static void count_jobs(struct server_state *state)
{
    state->log_bytes = state->terminals = 0;
    if (procd_list(false, add_job, state) != PROCD_DONE) {
        state->log_bytes = state->terminals = -1;
    }
}

static const struct procd_status unknown = {.uptime_ms = -1,
                                            .running = -1,
                                            .runners = -1,
                                            .idle_runners = -1,
                                            .disk_free = -1,
                                            .disk_total = -1};

static void count_drops(struct server_state *state)
{
    struct log_drops drops;
    state->dropped_lines = state->since_drop_ms = -1;
    if (log_drops_read(&drops) == 0) {
        state->dropped_lines = drops.lines;
        if (drops.last_ms > 0) {
            state->since_drop_ms = (int64_t)(clock_ns(CLOCK_BOOTTIME) / 1000000U) - drops.last_ms;
        }
    }
}

enum procd_result server_state_take(struct server_state *state, int timeout_ms)
{
    struct hold_figures holds;
    hold_figures(&holds);
    *state = (struct server_state){.requests = places_taken(),
                                   .runs = admission_count(ADMISSION_RUN),
                                   .streams = admission_count(ADMISSION_STREAM),
                                   .held = holds.held,
                                   .uploads = upload_records_count(),
                                   .log_bytes = -1,
                                   .terminals = -1};
    count_drops(state);
    enum procd_result result = procd_status(&state->procd, timeout_ms);
    if (result != PROCD_DONE) {
        state->procd = unknown;
        return result;
    }
    state->has_procd = true;
    count_jobs(state);
    return PROCD_DONE;
}

/* A family is a HELP line, a TYPE line and its samples. */
#include "fcgi-app/status/metrics_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/status/server_state.h"

#define PREFIX "nginx_sandbox_"

#define COUNTER   "counter"
#define GAUGE     "gauge"
#define HISTOGRAM "histogram"

struct family {
    const char *name;
    const char *type;
    const char *help;
};

static void begin_family(struct writer *writer, const struct family *family)
{
    (void)writer_format(writer, "# HELP " PREFIX "%s ", family->name);
    (void)writer_string(writer, family->help);
    (void)writer_format(writer, "\n# TYPE " PREFIX "%s %s\n", family->name, family->type);
}

static double seconds(uint64_t us)
{
    return (double)us / 1e6;
}

static uint64_t total(const uint64_t *numbers, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += numbers[i];
    }
    return sum;
}

/* ---- requests ---- */

struct text {
    struct writer *writer;
    const struct metrics *metrics;
    const char *(*label)(unsigned endpoint);
};

static void write_requests(const struct text *text)
{
    static const struct family family = {"requests_total", COUNTER,
                                         "Requests that fcgi-app has answered, by endpoint and "
                                         "status (499: the client left first)."};
    begin_family(text->writer, &family);
    for (unsigned endpoint = 0; endpoint < METRICS_ENDPOINTS; endpoint++) {
        for (size_t i = 0; i < METRICS_STATUSES; i++) {
            uint64_t count = text->metrics->requests[endpoint][i];
            if (count > 0) {
                (void)writer_format(text->writer,
                                    PREFIX "requests_total{endpoint=\"%s\",status=\"%d\"} %" PRIu64
                                           "\n",
                                    text->label(endpoint),
                                    i < API_STATUS_COUNT ? api_statuses[i].status : 0, count);
            }
        }
    }
}

/* The buckets of one endpoint, each with all that are below, and their sum and count. */
static void write_histogram(const struct text *text, unsigned endpoint)
{
    static const char name[] = PREFIX "request_duration_seconds";
    struct writer *writer = text->writer;
    const uint64_t *buckets = text->metrics->durations[endpoint];
    const char *label = text->label(endpoint);
    uint64_t count = 0;
    for (size_t i = 0; i < METRICS_BOUNDS; i++) {
        count += buckets[i];
        (void)writer_format(writer, "%s_bucket{endpoint=\"%s\",le=\"%g\"} %" PRIu64 "\n", name,
                            label, seconds(metrics_bounds_us[i]), count);
    }
    count += buckets[METRICS_BOUNDS];
    (void)writer_format(writer, "%s_bucket{endpoint=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, label,
                        count);
    (void)writer_format(writer, "%s_sum{endpoint=\"%s\"} %.6f\n", name, label,
                        seconds(text->metrics->duration_us[endpoint]));
    (void)writer_format(writer, "%s_count{endpoint=\"%s\"} %" PRIu64 "\n", name, label, count);
}

static void write_durations(const struct text *text)
{
    static const struct family family = {
        "request_duration_seconds", HISTOGRAM,
        "From the head of a request at fcgi-app to the end of its answer, by endpoint."};
    begin_family(text->writer, &family);
    for (unsigned endpoint = 0; endpoint < METRICS_ENDPOINTS; endpoint++) {
        if (total(text->metrics->durations[endpoint], METRICS_BOUNDS + 1) > 0) {
            write_histogram(text, endpoint);
        }
    }
}

/* One number for each value of a label. `seen`: only of those that are not 0. */
static void write_by(struct writer *writer, const struct family *family, const char *label,
                     const char *(*name)(unsigned number), const uint64_t *numbers, unsigned count,
                     bool seen)
{
    begin_family(writer, family);
    for (unsigned i = 0; i < count; i++) {
        if (numbers[i] > 0 || !seen) {
            (void)writer_format(writer, PREFIX "%s{%s=\"%s\"} %" PRIu64 "\n", family->name, label,
                                name(i), numbers[i]);
        }
    }
}

static void write_sent(const struct text *text)
{
    static const struct family family = {
        "response_bytes_total", COUNTER,
        "Bytes of the bodies of answers that fcgi-app gave to nginx, by endpoint."};
    write_by(text->writer, &family, "endpoint", text->label, text->metrics->sent, METRICS_ENDPOINTS,
             true);
}

/* ---- commands ---- */

static const char *outcome_name(unsigned outcome)
{
    return run_outcome_name((enum run_outcome)outcome);
}

static void write_runs(const struct text *text)
{
    static const struct family family = {
        "runs_total", COUNTER,
        "Commands of /run and /run_streaming that have ended, by what became of them."};
    write_by(text->writer, &family, "outcome", outcome_name, text->metrics->runs, RUN_OUTCOMES,
             false);
}

/* ---- single figures ---- */

struct figure {
    struct family family;
    double value; /* exact up to 2^53; negative: unknown */
};

static void write_figures(struct writer *writer, const struct figure *figures, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct figure *figure = &figures[i];
        if (figure->value >= 0) {
            begin_family(writer, &figure->family);
            (void)writer_format(writer, PREFIX "%s %.16g\n", figure->family.name, figure->value);
        }
    }
}

#define WRITE_FIGURES(writer, figures)                                                             \
    write_figures(writer, figures, sizeof(figures) / sizeof((figures)[0]))

static void write_gaps(struct writer *writer, const struct metrics *metrics)
{
    const struct figure figures[] = {
        {{"log_gaps_total", COUNTER,
          "Gaps in what readers of logs got: lines that were removed before they were read."},
         (double)metrics->gaps},
        {{"log_gap_bytes_total", COUNTER, "Bytes of logs in these gaps."},
         (double)metrics->gap_bytes},
        {{"log_gap_lines_total", COUNTER,
          "Lines of logs in these gaps, where the number is known."},
         (double)metrics->gap_lines},
    };
    WRITE_FIGURES(writer, figures);
}

static void write_state(struct writer *writer, const struct server_state *state)
{
    const struct procd_status *procd = &state->procd;
    const struct figure figures[] = {
        {{"procd_up", GAUGE, "1 if procd answered; what it knows is missing otherwise."},
         state->has_procd ? 1 : 0},
        {{"uptime_seconds", GAUGE, "Since the server was started."},
         (double)procd->uptime_ms / 1000},
        {{"requests_in_progress", GAUGE, "Requests at fcgi-app, this one included."},
         (double)state->requests},
        {{"backlog_connections", GAUGE, "Connections of nginx that wait for fcgi-app."},
         (double)state->backlog},
        {{"running_runs", GAUGE, "Commands of /run and /run_streaming that run."},
         (double)state->runs},
        {{"running_jobs", GAUGE, "Background processes that run."}, (double)procd->running},
        {{"open_streams", GAUGE, "Logs that are being streamed."}, (double)state->streams},
        {{"runners", GAUGE, "Processes that own a command's tree, or wait for one."},
         (double)procd->runners},
        {{"idle_runners", GAUGE, "Those of them that wait."}, (double)procd->idle_runners},
        {{"zombies", GAUGE, "Processes that have ended and were not waited for."},
         (double)state->zombies},
        {{"log_bytes", GAUGE, "Logs of background processes on disk."}, (double)state->log_bytes},
        {{"dropped_log_lines_total", COUNTER,
          "Lines of the server's own log, and of nginx's where the server writes it, that were "
          "dropped: nobody read them, or the disk was full."},
         (double)state->dropped_lines},
        {{"disk_free_bytes", GAUGE, "Of the file system with the logs, for the server."},
         (double)procd->disk_free},
        {{"disk_size_bytes", GAUGE, "Of the file system with the logs."},
         (double)procd->disk_total},
    };
    WRITE_FIGURES(writer, figures);
}

/* ---- the daemons ---- */

static const struct {
    struct family family;
    size_t member; /* of struct daemon_status */
    int64_t factor;
} of_daemons[] = {
    {{"daemon_restarts_total", COUNTER, "Starts of a daemon after the first, of this server."},
     offsetof(struct daemon_status, restarts),
     1},
    {{"daemon_resident_memory_bytes", GAUGE,
      "Resident memory of a daemon. nginx is its master with the workers, in all of these."},
     offsetof(struct daemon_status, rss_kb),
     1024},
    {{"daemon_open_fds", GAUGE, "Open descriptors of a daemon."},
     offsetof(struct daemon_status, descriptors),
     1},
    {{"daemon_threads", GAUGE, "Threads of a daemon."}, offsetof(struct daemon_status, threads), 1},
};

static int64_t member(const struct daemon_status *daemon, size_t offset)
{
    return *(const int64_t *)(const void *)((const char *)daemon + offset);
}

static void write_daemons(struct writer *writer, const struct procd_status *procd)
{
    for (size_t i = 0; i < sizeof(of_daemons) / sizeof(of_daemons[0]); i++) {
        if (procd->daemon_count > 0) {
            begin_family(writer, &of_daemons[i].family);
        }
        for (size_t j = 0; j < procd->daemon_count; j++) {
            int64_t value = member(&procd->daemons[j], of_daemons[i].member);
            if (value >= 0) {
                (void)writer_format(writer, PREFIX "%s{daemon=\"%s\"} %" PRId64 "\n",
                                    of_daemons[i].family.name, procd->daemons[j].name,
                                    value * of_daemons[i].factor);
            }
        }
    }
}

void metrics_write(struct writer *writer, const struct metrics *metrics,
                   const struct server_state *state, const char *(*label)(unsigned endpoint))
{
    static const struct figure up = {{"up", GAUGE, "1 if fcgi-app answered."}, 1};
    const struct text text = {.writer = writer, .metrics = metrics, .label = label};
    write_figures(writer, &up, 1);
    write_requests(&text);
    write_durations(&text);
    write_sent(&text);
    write_runs(&text);
    write_gaps(writer, metrics);
    write_state(writer, state);
    write_daemons(writer, &state->procd);
}

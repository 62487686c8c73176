/* A family is a HELP line, a TYPE line and its samples. */
#include "fcgi-app/status/metrics_text.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/status/server_state.h"

#define PREFIX "nginx_sandbox_"

static void begin_family(struct writer *writer, const char *name, const char *type,
                         const char *help)
{
    (void)writer_format(writer, "# HELP " PREFIX "%s ", name);
    (void)writer_string(writer, help);
    (void)writer_format(writer, "\n# TYPE " PREFIX "%s %s\n", name, type);
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
    begin_family(text->writer, "requests_total", "counter",
                 "Requests that fcgi-app has answered, by endpoint and status (499: the client "
                 "left first).");
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
    begin_family(text->writer, "request_duration_seconds", "histogram",
                 "From the head of a request at fcgi-app to the end of its answer, by endpoint.");
    for (unsigned endpoint = 0; endpoint < METRICS_ENDPOINTS; endpoint++) {
        if (total(text->metrics->durations[endpoint], METRICS_BOUNDS + 1) > 0) {
            write_histogram(text, endpoint);
        }
    }
}

static void write_sent(const struct text *text)
{
    begin_family(text->writer, "response_bytes_total", "counter",
                 "Bytes of the bodies of answers that fcgi-app gave to nginx, by endpoint.");
    for (unsigned endpoint = 0; endpoint < METRICS_ENDPOINTS; endpoint++) {
        if (text->metrics->sent[endpoint] > 0) {
            (void)writer_format(text->writer,
                                PREFIX "response_bytes_total{endpoint=\"%s\"} %" PRIu64 "\n",
                                text->label(endpoint), text->metrics->sent[endpoint]);
        }
    }
}

/* ---- commands and logs ---- */

static void write_runs(const struct text *text)
{
    begin_family(text->writer, "runs_total", "counter",
                 "Commands of /run and /run_streaming that have ended, by what became of them.");
    for (unsigned i = 0; i < RUN_OUTCOMES; i++) {
        (void)writer_format(text->writer, PREFIX "runs_total{outcome=\"%s\"} %" PRIu64 "\n",
                            run_outcome_name((enum run_outcome)i), text->metrics->runs[i]);
    }
}

/* A family of one number, which is exact up to 2^53. */
static void write_number(struct writer *writer, const char *name, const char *type,
                         const char *help, double value)
{
    begin_family(writer, name, type, help);
    (void)writer_format(writer, PREFIX "%s %.16g\n", name, value);
}

static void write_gaps(struct writer *writer, const struct metrics *metrics)
{
    write_number(writer, "log_gaps_total", "counter",
                 "Gaps in what readers of logs got: lines that were removed before they were read.",
                 (double)metrics->gaps);
    write_number(writer, "log_gap_bytes_total", "counter", "Bytes of logs in these gaps.",
                 (double)metrics->gap_bytes);
    write_number(writer, "log_gap_lines_total", "counter",
                 "Lines of logs in these gaps, where the number is known.",
                 (double)metrics->gap_lines);
}

/* ---- the state ---- */

static void write_state(struct writer *writer, const struct server_state *state)
{
    write_number(writer, "procd_up", "gauge",
                 "1 if procd answered; what it knows is missing otherwise.", state->has_procd);
    for (const struct figure *figure = server_figures; figure->member != NULL; figure++) {
        int64_t value = figure_value(figure, state);
        if (value >= 0) {
            write_number(writer, figure->metric, figure->type, figure->help,
                         (double)value * figure->unit);
        }
    }
}

/* One figure of all daemons. */
static void write_daemons(struct writer *writer, const struct procd_status *procd,
                          const struct figure *figure)
{
    begin_family(writer, figure->metric, figure->type, figure->help);
    for (size_t i = 0; i < procd->daemon_count; i++) {
        int64_t value = figure_value(figure, &procd->daemons[i]);
        if (value >= 0) {
            (void)writer_format(writer, PREFIX "%s{daemon=\"%s\"} %.16g\n", figure->metric,
                                procd->daemons[i].name, (double)value * figure->unit);
        }
    }
}

void metrics_write(struct writer *writer, const struct metrics *metrics,
                   const struct server_state *state, const char *(*label)(unsigned endpoint))
{
    const struct text text = {.writer = writer, .metrics = metrics, .label = label};
    write_number(writer, "up", "gauge", "1 if fcgi-app answered.", 1);
    write_requests(&text);
    write_durations(&text);
    write_sent(&text);
    write_runs(&text);
    write_gaps(writer, metrics);
    write_state(writer, state);
    for (const struct figure *figure = daemon_figures; figure->member != NULL; figure++) {
        if (figure->metric != NULL && state->procd.daemon_count > 0) {
            write_daemons(writer, &state->procd, figure);
        }
    }
}

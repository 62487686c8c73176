/* A family is a HELP line, a TYPE line and its samples. */
#include "fcgi-app/status/metrics_text.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#include "api/endpoints.h"
#include "api/statuses.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/ports/held_places.h"
#include "fcgi-app/ports/shares.h"
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

static const char *label(unsigned endpoint)
{
    return endpoint < API_COUNT ? api_endpoints[endpoint].path : "other";
}

static void write_requests(struct writer *writer, const struct metrics *metrics)
{
    begin_family(writer, "requests_total", "counter",
                 "Requests that fcgi-app has answered, by endpoint and status (499: the client "
                 "left first).");
    for (unsigned endpoint = 0; endpoint < METRICS_ENDPOINTS; endpoint++) {
        for (size_t i = 0; i < METRICS_STATUSES; i++) {
            uint64_t count = metrics->requests[endpoint][i];
            if (count > 0) {
                (void)writer_format(
                    writer, PREFIX "requests_total{endpoint=\"%s\",status=\"%d\"} %" PRIu64 "\n",
                    label(endpoint), i < API_STATUS_COUNT ? api_statuses[i].status : 0, count);
            }
        }
    }
}

/* The buckets of one endpoint, each with all that are below, and their sum and count. */
static void write_histogram(struct writer *writer, const struct metrics *metrics, unsigned endpoint)
{
    static const char name[] = PREFIX "request_duration_seconds";
    const char *path = label(endpoint);
    const uint64_t *buckets = metrics->durations[endpoint];
    uint64_t count = 0;
    for (size_t i = 0; i < METRICS_BOUNDS; i++) {
        count += buckets[i];
        (void)writer_format(writer, "%s_bucket{endpoint=\"%s\",le=\"%g\"} %" PRIu64 "\n", name,
                            path, seconds(metrics_bounds_us[i]), count);
    }
    count += buckets[METRICS_BOUNDS];
    (void)writer_format(writer, "%s_bucket{endpoint=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, path,
                        count);
    (void)writer_format(writer, "%s_sum{endpoint=\"%s\"} %.6f\n", name, path,
                        seconds(metrics->duration_us[endpoint]));
    (void)writer_format(writer, "%s_count{endpoint=\"%s\"} %" PRIu64 "\n", name, path, count);
}

static void write_durations(struct writer *writer, const struct metrics *metrics)
{
    begin_family(writer, "request_duration_seconds", "histogram",
                 "From the head of a request at fcgi-app to the end of its answer, by endpoint.");
    for (unsigned endpoint = 0; endpoint < METRICS_ENDPOINTS; endpoint++) {
        if (total(metrics->durations[endpoint], METRICS_BOUNDS + 1) > 0) {
            write_histogram(writer, metrics, endpoint);
        }
    }
}

static void write_sent(struct writer *writer, const struct metrics *metrics)
{
    begin_family(writer, "response_bytes_total", "counter",
                 "Bytes of the bodies of answers that fcgi-app gave to nginx, by endpoint.");
    for (unsigned endpoint = 0; endpoint < METRICS_ENDPOINTS; endpoint++) {
        if (metrics->sent[endpoint] > 0) {
            (void)writer_format(writer,
                                PREFIX "response_bytes_total{endpoint=\"%s\"} %" PRIu64 "\n",
                                label(endpoint), metrics->sent[endpoint]);
        }
    }
}

/* ---- commands and logs ---- */

static void write_runs(struct writer *writer, const struct metrics *metrics)
{
    begin_family(writer, "runs_total", "counter",
                 "Commands of /run and /run_streaming that have ended, by what became of them.");
    for (unsigned i = 0; i < RUN_OUTCOMES; i++) {
        (void)writer_format(writer, PREFIX "runs_total{outcome=\"%s\"} %" PRIu64 "\n",
                            run_outcome_name((enum run_outcome)i), metrics->runs[i]);
    }
}

static void write_transfers(struct writer *writer, const struct metrics *metrics)
{
    static const char *const names[TRANSFER_DIRECTIONS] = {"out", "in"};
    begin_family(writer, "transfer_bytes_total", "counter",
                 "Bytes of files that /files sent (out), and that it and /uploads received (in).");
    for (unsigned i = 0; i < TRANSFER_DIRECTIONS; i++) {
        (void)writer_format(writer, PREFIX "transfer_bytes_total{direction=\"%s\"} %" PRIu64 "\n",
                            names[i], metrics->transferred[i]);
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

static void write_shares(struct writer *writer)
{
    struct share shares[SHARES_MOST];
    int count = shares_now(shares);
    if (count >= 0) {
        write_number(writer, "open_shares", "gauge", "Shares of ports that have not ended.", count);
    }
    write_number(writer, "shares_made_total", "counter", "Shares of ports that were made.",
                 (double)shares_made());
}

static void write_holds(struct writer *writer)
{
    struct hold_figures holds;
    hold_figures(&holds);
    write_number(writer, "port_waits_total", "counter",
                 "Requests to ports that had to wait until somebody listened.",
                 (double)holds.waited);
    write_number(writer, "port_waits_timed_out_total", "counter",
                 "Those of them that waited in vain.", (double)holds.timed_out);
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
                   const struct server_state *state)
{
    write_number(writer, "up", "gauge", "1 if fcgi-app answered.", 1);
    write_requests(writer, metrics);
    write_durations(writer, metrics);
    write_sent(writer, metrics);
    write_runs(writer, metrics);
    write_transfers(writer, metrics);
    write_gaps(writer, metrics);
    write_holds(writer);
    write_shares(writer);
    write_state(writer, state);
    for (const struct figure *figure = daemon_figures; figure->member != NULL; figure++) {
        if (figure->metric != NULL && state->procd.daemon_count > 0) {
            write_daemons(writer, &state->procd, figure);
        }
    }
}

/*
 * What is counted, and the text that it becomes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/status/metrics_text.h"
#include "fcgi-app/status/server_state.h"
#include "tests/unit/fake_request.h"

#define WRITER_MIN 512

static char *render(const struct metrics *metrics, const struct server_state *state)
{
    struct request request = fake_request("", 0);
    struct writer writer;
    assert_int_equal(request_begin(&request, 200, METRICS_CONTENT_TYPE, NULL), 0);
    assert_int_equal(writer_init(&writer, &request, WRITER_MIN, true), 0);
    metrics_write(&writer, metrics, state);
    assert_int_equal(writer_flush(&writer), 0);
    writer_clear(&writer);
    return request.answer;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("%s\nis not in\n%s", part, text);
    }
}

static const struct server_state known = {
    .has_procd = true,
    .procd = {.uptime_ms = 12345,
              .running = 2,
              .runners = 6,
              .idle_runners = 3,
              .disk_free = INT64_C(9007199254740992), /* the largest that a double surely holds */
              .disk_total = INT64_C(9007199254740992),
              .daemon_count = 2,
              .daemons = {{.name = "nginx",
                           .restarts = 1,
                           .pid = 8,
                           .descriptors = -1,
                           .threads = 3,
                           .rss_kb = 100},
                          {.name = "procd",
                           .restarts = 0,
                           .pid = -1,
                           .descriptors = 5,
                           .threads = -1,
                           .rss_kb = -1}}},
    .requests = 4,
    .runs = 3,
    .streams = 1,
    .log_bytes = 1000,
    .terminals = 2,
};

static void test_the_state(void **state)
{
    (void)state;
    static const struct metrics none;
    cleanup_free char *text = render(&none, &known);
    assert_has(text, "# HELP nginx_sandbox_up 1 if fcgi-app answered.\n"
                     "# TYPE nginx_sandbox_up gauge\n"
                     "nginx_sandbox_up 1\n");
    assert_has(text, "\nnginx_sandbox_procd_up 1\n");
    assert_has(text, "\nnginx_sandbox_uptime_seconds 12.345\n");
    assert_has(text, "\nnginx_sandbox_requests_in_progress 4\n");
    assert_has(text, "\nnginx_sandbox_running_runs 3\n");
    assert_has(text, "\nnginx_sandbox_running_jobs 2\n");
    assert_has(text, "\nnginx_sandbox_open_streams 1\n");
    assert_has(text, "\nnginx_sandbox_runners 6\n");
    assert_has(text, "\nnginx_sandbox_idle_runners 3\n");
    assert_has(text, "\nnginx_sandbox_log_bytes 1000\n");
    assert_has(text, "\nnginx_sandbox_running_terminals 2\n");
    assert_has(text, "\nnginx_sandbox_disk_free_bytes 9007199254740992\n");
    assert_has(text, "counter\nnginx_sandbox_daemon_restarts_total{daemon=\"nginx\"} 1\n"
                     "nginx_sandbox_daemon_restarts_total{daemon=\"procd\"} 0\n#");
    assert_has(text,
               "gauge\nnginx_sandbox_daemon_resident_memory_bytes{daemon=\"nginx\"} 102400\n#");
    assert_has(text, "gauge\nnginx_sandbox_daemon_open_fds{daemon=\"procd\"} 5\n#");
    assert_has(text, "gauge\nnginx_sandbox_daemon_threads{daemon=\"nginx\"} 3\n");
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void test_without_procd(void **state)
{
    (void)state;
    static const struct metrics none;
    const struct server_state unknown = {.procd = {.uptime_ms = -1,
                                                   .running = -1,
                                                   .runners = -1,
                                                   .idle_runners = -1,
                                                   .disk_free = -1,
                                                   .disk_total = -1},
                                         .log_bytes = -1,
                                         .terminals = -1,
                                         .dropped_lines = -1,
                                         .streams = 2};
    cleanup_free char *text = render(&none, &unknown);
    assert_has(text, "\nnginx_sandbox_up 1\n");
    assert_has(text, "\nnginx_sandbox_procd_up 0\n");
    assert_has(text, "\nnginx_sandbox_open_streams 2\n");
    static const char *const missing[] = {"uptime",  "running_jobs", "running_terminals",
                                          "runners", "log_bytes",    "disk",
                                          "daemon",  "dropped"};
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        assert_null(strstr(text, missing[i]));
    }
}

static void test_the_counters(void **state)
{
    (void)state;
    struct metrics metrics = {.gaps = 1, .gap_bytes = UINT64_C(1) << 40, .gap_lines = 3};
    metrics.requests[1][0] = 4;
    metrics.requests[1][METRICS_STATUSES - 1] = 1;
    metrics.requests[METRICS_ENDPOINTS - 1][api_status_index(404)] = UINT64_MAX;
    metrics.durations[1][0] = 2;
    metrics.durations[1][2] = 1;
    metrics.durations[1][METRICS_BOUNDS] = 2;
    metrics.duration_us[1] = 600000001;
    metrics.sent[0] = 17;
    metrics.runs[RUN_CANCELLED] = 5;
    cleanup_free char *text = render(&metrics, &known);
    assert_has(
        text,
        "counter\nnginx_sandbox_requests_total{endpoint=\"/run_streaming\",status=\"200\"} 4\n"
        "nginx_sandbox_requests_total{endpoint=\"/run_streaming\",status=\"0\"} 1\n"
        "nginx_sandbox_requests_total{endpoint=\"other\",status=\"404\"} "
        "18446744073709551615\n#");
    assert_has(text, "# TYPE nginx_sandbox_request_duration_seconds histogram\n"
                     "nginx_sandbox_request_duration_seconds_bucket{endpoint=\"/"
                     "run_streaming\",le=\"0.001\"} 2\n"
                     "nginx_sandbox_request_duration_seconds_bucket{endpoint=\"/"
                     "run_streaming\",le=\"0.0025\"} 2\n"
                     "nginx_sandbox_request_duration_seconds_bucket{endpoint=\"/"
                     "run_streaming\",le=\"0.005\"} 3\n");
    assert_has(
        text,
        "{endpoint=\"/run_streaming\",le=\"300\"} 3\n"
        "nginx_sandbox_request_duration_seconds_bucket{endpoint=\"/run_streaming\",le=\"+Inf\"} 5\n"
        "nginx_sandbox_request_duration_seconds_sum{endpoint=\"/run_streaming\"} 600.000001\n"
        "nginx_sandbox_request_duration_seconds_count{endpoint=\"/run_streaming\"} 5\n#");
    assert_has(text, "counter\nnginx_sandbox_response_bytes_total{endpoint=\"/run\"} 17\n#");
    assert_has(text, "counter\nnginx_sandbox_runs_total{outcome=\"exit\"} 0\n");
    assert_has(text, "{outcome=\"cancelled\"} 5\n");
    assert_has(text, "\nnginx_sandbox_log_gaps_total 1\n");
    assert_has(text, "\nnginx_sandbox_log_gap_bytes_total 1099511627776\n");
    assert_has(text, "\nnginx_sandbox_log_gap_lines_total 3\n");
}

/* All figures together fit the buffer of the endpoint (scrape.c). */
static void test_the_most(void **state)
{
    (void)state;
    struct metrics metrics;
    uint64_t *numbers = (uint64_t *)(void *)&metrics;
    for (size_t i = 0; i < sizeof(metrics) / sizeof(*numbers); i++) {
        numbers[i] = UINT64_C(1) << 50;
    }
    cleanup_free char *text = render(&metrics, &known);
    assert_in_range(strlen(text), 30000, 240000);
}

static void test_a_client_that_leaves(void **state)
{
    (void)state;
    static const struct metrics none;
    struct request request = fake_request("", 0);
    struct writer writer;
    request.writable_max = 1000;
    assert_int_equal(request_begin(&request, 200, METRICS_CONTENT_TYPE, NULL), 0);
    assert_int_equal(writer_init(&writer, &request, WRITER_MIN, true), 0);
    metrics_write(&writer, &none, &known);
    assert_int_equal(writer_flush(&writer), -1);
    writer_clear(&writer);
    fake_request_clear(&request);
}

static void test_counting(void **state)
{
    (void)state;
    struct metrics before;
    struct metrics after;
    metrics_take(&before);
    struct measured measured = metrics_begin(3);
    metrics_sent(&measured, 100);
    metrics_sent(&measured, 11);
    measured.status = 404;
    measured.begun_us -= 31000000; /* it took so long, and a little */
    metrics_end(&measured);
    measured = metrics_begin(METRICS_ENDPOINTS - 1);
    metrics_end(&measured); /* without an answer */
    measured.status = 299;
    metrics_end(&measured);
    measured = metrics_begin(METRICS_NONE);
    metrics_sent(&measured, 1);
    metrics_end(&measured);
    metrics_run(RUN_OUT_OF_MEMORY);
    metrics_gap(10, 2);
    metrics_gap(5, 0);
    metrics_take(&after);

    uint64_t requests = 0;
    for (size_t endpoint = 0; endpoint < METRICS_ENDPOINTS; endpoint++) {
        for (size_t i = 0; i < METRICS_STATUSES; i++) {
            uint64_t more = after.requests[endpoint][i] - before.requests[endpoint][i];
            bool first = endpoint == 3 && i == api_status_index(404);
            bool others = endpoint == METRICS_ENDPOINTS - 1 &&
                          (i == api_status_index(499) || i == API_STATUS_COUNT);
            assert_int_equal(more, first || others ? 1 : 0);
            requests += more;
        }
    }
    assert_int_equal(requests, 3);
    size_t bucket = 0;
    while (metrics_bounds_us[bucket] < 31000000) {
        bucket++;
    }
    assert_int_equal(after.durations[3][bucket] - before.durations[3][bucket], 1);
    assert_true(after.duration_us[3] - before.duration_us[3] >= 31000000);
    assert_int_equal(after.sent[3] - before.sent[3], 111);
    assert_int_equal(after.runs[RUN_OUT_OF_MEMORY] - before.runs[RUN_OUT_OF_MEMORY], 1);
    assert_int_equal(after.gaps - before.gaps, 2);
    assert_int_equal(after.gap_bytes - before.gap_bytes, 15);
    assert_int_equal(after.gap_lines - before.gap_lines, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_state),
        cmocka_unit_test(test_without_procd),
        cmocka_unit_test(test_the_counters),
        cmocka_unit_test(test_the_most),
        cmocka_unit_test(test_a_client_that_leaves),
        cmocka_unit_test(test_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

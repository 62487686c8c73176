/*
 * The configuration table: defaults, suffixes, ranges, and errors that name the variable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

#include "common/settings.h"

static const char *const names[] = {"PORT",
                                    "PROXY_PORT",
                                    "SANDBOX_MAX_BODY",
                                    "SANDBOX_LOG_MAX",
                                    "SANDBOX_MAX_CONNECTIONS",
                                    "SANDBOX_KEEP_FINISHED",
                                    "SANDBOX_KEEP_FINISHED_FOR",
                                    "SANDBOX_MAX_TIMEOUT",
                                    "SANDBOX_READER_TIMEOUT",
                                    "SANDBOX_HTTP_KEEPALIVE",
                                    "SANDBOX_STREAM_KEEPALIVE",
                                    "SANDBOX_STOP_GRACE",
                                    "SANDBOX_CGROUP",
                                    "SANDBOX_MAX_RUNS",
                                    "SANDBOX_MAX_JOBS",
                                    "SANDBOX_MAX_TERMINALS",
                                    "SANDBOX_MAX_ATTACHED",
                                    "SANDBOX_MAX_STREAMS",
                                    "SANDBOX_MAX_OUTPUT",
                                    "SANDBOX_MAX_TRANSFERS",
                                    "SANDBOX_MAX_UPLOAD",
                                    "SANDBOX_MAX_UPLOADS",
                                    "SANDBOX_UPLOAD_LIFETIME",
                                    "SANDBOX_MIN_FREE",
                                    "SANDBOX_MAX_LINK_LIFETIME",
                                    "SANDBOX_MAX_HELD",
                                    "SANDBOX_PORT_WAIT",
                                    "SANDBOX_MAX_FAILED_AUTH",
                                    "SANDBOX_PUBLIC_PORTS",
                                    "SANDBOX_USER",
                                    "SANDBOX_ALLOW_SETUID",
                                    "SANDBOX_LIMIT_NOFILE",
                                    "SANDBOX_LIMIT_NPROC",
                                    "SANDBOX_LIMIT_FSIZE",
                                    "SANDBOX_LIMIT_CPU",
                                    "SANDBOX_LIMIT_AS",
                                    "SANDBOX_MEMORY_MAX",
                                    "SANDBOX_PIDS_MAX",
                                    "SANDBOX_CPU_MAX",
                                    "LOG_LEVEL"};

static int clear_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsetenv(names[i]);
    }
    return 0;
}

/* For log_line(). NOLINTBEGIN(bugprone-reserved-identifier): the linker's names (ld --wrap) */
void __wrap_log_request(int level, const char *request_id, const char *format, ...);

static char error[200]; /* the last that was logged */

__attribute__((format(printf, 3, 4))) void __wrap_log_request(int level, const char *request_id,
                                                              const char *format, ...)
{
    va_list arguments;
    (void)level;
    (void)request_id;
    va_start(arguments, format);
    assert_in_range(vsnprintf(error, sizeof(error), format, arguments), 1, sizeof(error) - 1);
    va_end(arguments);
}

/* NOLINTEND(bugprone-reserved-identifier) */

static struct settings read_good(void)
{
    struct settings settings;
    assert_int_equal(settings_read(&settings, NULL), 0);
    return settings;
}

static void assert_refused(const char *name, const char *value)
{
    struct settings settings;
    setenv(name, value, 1);
    assert_int_equal(settings_read(&settings, NULL), -1);
    assert_ptr_equal(strstr(error, name), error); /* the line opens with the variable's name */
    assert_null(strchr(error, '\n'));
    assert_null(strstr(error, "at least 0"));
    unsetenv(name);
}

static void takes_defaults(void **state)
{
    (void)state;
    setenv("PORT", "", 1); /* empty is unset */
    struct settings settings = read_good();
    assert_int_equal(settings.port, 3030);
    assert_int_equal(settings.proxy_port, 3031);
    assert_int_equal(settings.max_body, 256 << 20);
    assert_int_equal(settings.log_max, 64 << 20);
    assert_int_equal(settings.max_connections, 4096);
    assert_int_equal(settings.max_runs, 1024);
    assert_int_equal(settings.max_jobs, 1024);
    assert_int_equal(settings.max_terminals, 256);
    assert_int_equal(settings.max_attached, 1024);
    assert_int_equal(settings.max_streams, 0);
    assert_int_equal(settings.max_output, 0);
    assert_int_equal(settings.max_transfers, 64);
    assert_int_equal(settings.max_upload, UINT64_C(16) << 30);
    assert_int_equal(settings.max_uploads, 256);
    assert_int_equal(settings.upload_lifetime_ms, 24 * 3600 * 1000);
    assert_int_equal(settings.min_free, 0);
    assert_int_equal(settings.max_failed_auth, 10);
    assert_false(settings.public_ports);
    assert_int_equal(settings.keep_finished, 1000);
    assert_int_equal(settings.keep_finished_ms, 24 * 3600 * 1000);
    assert_int_equal(settings.max_timeout_ms, 0);
    assert_int_equal(settings.reader_timeout_ms, 3600 * 1000);
    assert_int_equal(settings.stream_keepalive_ms, 45 * 1000);
    assert_int_equal(settings.memory_max, 0);
    assert_int_equal(settings.pids_max, 0);
    assert_int_equal(settings.cpu_max, 0);
    assert_string_equal(settings.cgroup, "auto");
    assert_int_equal(settings.log_level, LOG_NOTICE);
    assert_null(settings.user);
    assert_int_equal(settings.allow_setuid, 0);
    assert_int_equal(settings.limit_nofile, 0);
    assert_int_equal(settings.limit_nproc, 0);
    assert_int_equal(settings.limit_fsize, 0);
    assert_int_equal(settings.limit_cpu_ms, 0);
    assert_int_equal(settings.limit_as, 0);
}

static void reads_values_and_suffixes(void **state)
{
    (void)state;
    setenv("PORT", "8080", 1);
    setenv("PROXY_PORT", "65535", 1);
    setenv("SANDBOX_MAX_BODY", "0", 1);
    setenv("SANDBOX_LOG_MAX", "3G", 1);
    setenv("SANDBOX_MAX_CONNECTIONS", "16", 1);
    struct settings settings = read_good();
    assert_int_equal(settings.port, 8080);
    assert_int_equal(settings.proxy_port, 65535);
    assert_int_equal(settings.max_body, 0);
    assert_int_equal(settings.log_max, UINT64_C(3) << 30);
    assert_int_equal(settings.max_connections, 16);
    setenv("SANDBOX_MAX_BODY", "512k", 1);
    assert_int_equal(read_good().max_body, 512 << 10);
    setenv("SANDBOX_CGROUP", "off", 1);
    assert_string_equal(read_good().cgroup, "off");
    setenv("SANDBOX_CGROUP", "/sys/fs/cgroup/box", 1);
    assert_string_equal(read_good().cgroup, "/sys/fs/cgroup/box");
    setenv("LOG_LEVEL", "error", 1);
    assert_int_equal(read_good().log_level, LOG_ERR);
    setenv("LOG_LEVEL", "WARN", 1);
    assert_int_equal(read_good().log_level, LOG_WARNING);
    setenv("LOG_LEVEL", "INFO", 1);
    assert_int_equal(read_good().log_level, LOG_INFO);
    setenv("LOG_LEVEL", "debug", 1);
    assert_int_equal(read_good().log_level, LOG_DEBUG);
    setenv("LOG_LEVEL", "TRACE", 1);
    assert_int_equal(read_good().log_level, LOG_DEBUG);
}

static void reads_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } times[] = {{"0", 0},          {"90", 90000},          {"250ms", 250},
                 {"7s", 7000},      {"2M", 2 * 60000L},     {"3h", 3 * 3600000L},
                 {"1d", 86400000L}, {"20d", 20 * 86400000L}};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        setenv("SANDBOX_MAX_TIMEOUT", times[i].text, 1);
        assert_int_equal(read_good().max_timeout_ms, times[i].ms);
    }
    setenv("SANDBOX_KEEP_FINISHED", "0", 1);
    setenv("SANDBOX_KEEP_FINISHED_FOR", "30d", 1);
    setenv("SANDBOX_READER_TIMEOUT", "1500ms", 1);
    assert_int_equal(read_good().http_keepalive_ms, 75000);
    setenv("SANDBOX_HTTP_KEEPALIVE", "0", 1);
    assert_int_equal(read_good().http_keepalive_ms, 0);
    setenv("SANDBOX_HTTP_KEEPALIVE", "620", 1);
    assert_int_equal(read_good().http_keepalive_ms, 620000);
    setenv("SANDBOX_STREAM_KEEPALIVE", "2m", 1);
    assert_int_equal(read_good().stream_keepalive_ms, 120000);
    assert_int_equal(read_good().keep_finished, 0);
    assert_int_equal(read_good().keep_finished_ms, 30 * 86400000L);
    assert_int_equal(read_good().reader_timeout_ms, 1500);
}

/* The error for a time that is too long says how long it may be. */
static void assert_longest(const char *name, const char *longest)
{
    struct settings settings;
    char wanted[40];
    (void)snprintf(wanted, sizeof(wanted), "s to %s,", longest);
    setenv(name, "21d", 1);
    assert_int_equal(settings_read(&settings, NULL), -1);
    assert_non_null(strstr(error, wanted));
    unsetenv(name);
}

static void says_how_long_a_time_may_be(void **state)
{
    (void)state;
    assert_longest("SANDBOX_MAX_TIMEOUT", "20d");
    assert_longest("SANDBOX_STREAM_KEEPALIVE", "1d");
    assert_longest("SANDBOX_STOP_GRACE", "10m");
}

static void refuses_what_is_no_value(void **state)
{
    (void)state;
    static const char *const bad_numbers[] = {"0",
                                              "65536",
                                              "-1",
                                              "+1",
                                              " 80",
                                              "80 ",
                                              "8o",
                                              "0x1f90",
                                              "80k",
                                              "k",
                                              "1e3",
                                              "8080\n",
                                              "18446744073709551617"};
    for (size_t i = 0; i < sizeof(bad_numbers) / sizeof(bad_numbers[0]); i++) {
        assert_refused("PORT", bad_numbers[i]);
        assert_refused("PROXY_PORT", bad_numbers[i]);
    }
    assert_refused("SANDBOX_MAX_BODY", "12mb");
    assert_refused("SANDBOX_MAX_BODY", "m");
    assert_refused("SANDBOX_MAX_BODY", "17179869184g"); /* 2^64 bytes */
    assert_refused("SANDBOX_LOG_MAX", "1023k");
    assert_refused("SANDBOX_MAX_CONNECTIONS", "15");
    assert_refused("SANDBOX_MAX_CONNECTIONS", "65537");
    assert_refused("SANDBOX_MAX_CONNECTIONS", "4k");
    assert_refused("SANDBOX_KEEP_FINISHED", "1s");
    assert_refused("SANDBOX_KEEP_FINISHED", "10001");
    assert_refused("SANDBOX_MAX_TIMEOUT", "21d");
    assert_refused("SANDBOX_MAX_TIMEOUT", "1k");
    assert_refused("SANDBOX_MAX_TIMEOUT", "1 s");
    assert_refused("SANDBOX_MAX_TIMEOUT", "1.5s");
    assert_refused("SANDBOX_MAX_TIMEOUT", "s");
    assert_refused("SANDBOX_READER_TIMEOUT", "0");
    assert_refused("SANDBOX_READER_TIMEOUT", "999ms");
    assert_refused("SANDBOX_HTTP_KEEPALIVE", "-1");
    assert_refused("SANDBOX_HTTP_KEEPALIVE", "21d");
    assert_refused("SANDBOX_STREAM_KEEPALIVE", "0");
    assert_refused("SANDBOX_STREAM_KEEPALIVE", "25h");
    assert_refused("SANDBOX_CGROUP", "on");
    assert_refused("SANDBOX_CGROUP", "sys/fs/cgroup");
    assert_refused("LOG_LEVEL", "warning");
    assert_refused("LOG_LEVEL", "info ");
    assert_refused("LOG_LEVEL", "6");
}

static void assert_range(const char *name, const char *bad, const char *range)
{
    setenv(name, bad, 1);
    struct settings settings;
    assert_int_equal(settings_read(&settings, NULL), -1);
    assert_non_null(strstr(error, range));
    unsetenv(name);
}

static void names_the_range_of_a_time(void **state)
{
    (void)state;
    assert_range("SANDBOX_STOP_GRACE", "11m", "a time from 0s to 10m,");
    assert_range("SANDBOX_STREAM_KEEPALIVE", "0", "a time from 1s to 1d,");
    assert_range("SANDBOX_MAX_TIMEOUT", "21d", "a time from 0s to 20d,");
}

static void refuses_one_port_for_both(void **state)
{
    (void)state;
    assert_refused("PROXY_PORT", "3030");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_defaults, clear_environment),
        cmocka_unit_test_setup(reads_values_and_suffixes, clear_environment),
        cmocka_unit_test_setup(reads_times, clear_environment),
        cmocka_unit_test_setup(says_how_long_a_time_may_be, clear_environment),
        cmocka_unit_test_setup(refuses_what_is_no_value, clear_environment),
        cmocka_unit_test_setup(names_the_range_of_a_time, clear_environment),
        cmocka_unit_test_setup(refuses_one_port_for_both, clear_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

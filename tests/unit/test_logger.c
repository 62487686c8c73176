/*
 * Lines of the log: levels, the request, the form for the journal, and nothing that could be taken
 * for another line.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/logger.h"

static int pipe_ends[2];
static int saved_stderr;
static char said[4096];

enum journal { JOURNAL_NONE, JOURNAL_OURS, JOURNAL_ELSEWHERE };

/* Standard error is a pipe; JOURNAL_STREAM names it, or another file. */
static void open_log(enum journal journal)
{
    struct stat status;
    char stream[64];
    assert_int_equal(pipe(pipe_ends), 0);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0 && dup2(pipe_ends[1], STDERR_FILENO) >= 0);
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev,
             (uintmax_t)status.st_ino + (journal == JOURNAL_ELSEWHERE));
    setenv("JOURNAL_STREAM", journal == JOURNAL_NONE ? "" : stream, 1);
    logger_open("test");
    logger_set_level(LOG_NOTICE);
}

/* All that was said since. */
static const char *close_log(void)
{
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    close(saved_stderr);
    close(pipe_ends[1]);
    ssize_t length = read(pipe_ends[0], said, sizeof(said) - 1);
    assert_true(length >= 0);
    said[length] = '\0';
    close(pipe_ends[0]);
    logger_set_request(NULL);
    return said;
}

static void say_all(void)
{
    log_line("e%d", 1);
    log_at(LOG_WARNING, "w");
    log_at(LOG_NOTICE, "n");
    log_at(LOG_INFO, "i");
    log_at(LOG_DEBUG, "d");
}

static void tells_what_is_severe_enough(void **state)
{
    (void)state;
    open_log(JOURNAL_NONE);
    say_all();
    assert_string_equal(close_log(), "test: e1\ntest: warning: w\ntest: notice: n\n");
    open_log(JOURNAL_NONE);
    logger_set_level(LOG_ERR);
    say_all();
    assert_string_equal(close_log(), "test: e1\n");
    open_log(JOURNAL_NONE);
    logger_set_level(LOG_DEBUG);
    say_all();
    assert_string_equal(close_log(), "test: e1\ntest: warning: w\ntest: notice: n\n"
                                     "test: info: i\ntest: debug: d\n");
}

static void gives_the_journal_priorities(void **state)
{
    (void)state;
    open_log(JOURNAL_OURS);
    logger_set_level(LOG_DEBUG);
    say_all();
    log_request(LOG_WARNING, "id", "w");
    assert_string_equal(close_log(), "<3>test: e1\n<4>test: w\n<5>test: n\n<6>test: i\n"
                                     "<7>test: d\n<4>test: [id] w\n");
    open_log(JOURNAL_ELSEWHERE); /* it was redirected */
    log_at(LOG_WARNING, "w");
    assert_string_equal(close_log(), "test: warning: w\n");
}

static void names_the_request(void **state)
{
    (void)state;
    char longest[2 * REQUEST_ID_SIZE] = "";
    open_log(JOURNAL_NONE);
    log_request(LOG_NOTICE, "one", "a");
    logger_set_request("all");
    log_line("b");
    log_request(LOG_ERR, "", "c");
    log_request(LOG_ERR, NULL, "d");
    log_request(LOG_ERR, "one", "e");
    logger_set_request(NULL);
    log_line("f");
    memset(longest, 'x', sizeof(longest) - 1);
    logger_set_request(longest);
    log_line("g");
    longest[REQUEST_ID_SIZE - 1] = '\0';
    char expected[512];
    snprintf(expected, sizeof(expected),
             "test: notice: [one] a\ntest: [all] b\ntest: [all] c\ntest: [all] d\ntest: [one] e\n"
             "test: f\ntest: [%s] g\n",
             longest);
    assert_string_equal(close_log(), expected);
}

static void is_one_line(void **state)
{
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    open_log(JOURNAL_NONE);
    log_line("a\nb\033c%s", "\r\n<0>x");
    assert_string_equal(close_log(), "test: a?b?c?"
                                     "?<0>x\n");
    open_log(JOURNAL_NONE);
    log_line("%s", text);
    const char *line = close_log();
    assert_true(strlen(line) < 1024 + 1);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void keeps_errno(void **state)
{
    (void)state;
    open_log(JOURNAL_NONE);
    errno = ENOENT;
    log_line("%m");
    log_at(LOG_DEBUG, "not told");
    assert_int_equal(errno, ENOENT);
    assert_string_equal(close_log(), "test: No such file or directory\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_severe_enough),
        cmocka_unit_test(gives_the_journal_priorities),
        cmocka_unit_test(names_the_request),
        cmocka_unit_test(is_one_line),
        cmocka_unit_test(keeps_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The file endpoints, from a body to an answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/spools.h"
#include "tests/unit/fake_request.h"

static char top[] = "/tmp/test_files.XXXXXX";
static int spools;

static int enter_directory(void **state)
{
    (void)state;
    (void)umask(022);
    (void)strcpy(top, "/tmp/test_files.XXXXXX");
    spools = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    spools_init(spools);
    json_init(0, JSON_IN_MEMORY);
    return spools < 0 || mkdtemp(top) == NULL || chdir(top) != 0;
}

static int leave_directory(void **state)
{
    (void)state;
    struct fs_error error;
    close_fd(&spools);
    return chdir("/") != 0 || fs_delete_tree(top, &error) != 0;
}

static void make_file(const char *path, const char *content, size_t length)
{
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, length), length);
}

static void assert_answer(const struct endpoint *endpoint, const char *body, int status,
                          const char *expected)
{
    struct request request = fake_request(body, strlen(body));
    endpoint_handle(endpoint, &request);
    assert_int_equal(request.status, status);
    assert_false(request.aborted);
    assert_string_equal(request.answer, expected);
    fake_request_clear(&request);
}

#define SUCCESS "{\"success\":true}"

static void writes_and_reads(void **state)
{
    (void)state;
    assert_answer(&write_file_endpoint,
                  "{\"path\":\"file\",\"content\":\"a\\u0000\\\"\\n\\u00e4\\ud83d\\ude00\"}", 200,
                  SUCCESS);
    assert_answer(&read_file_endpoint, "{\"path\":\"file\"}", 200,
                  "{\"content\":\"a\\u0000\\\"\\n\u00e4\U0001F600\"}");
    assert_answer(&write_file_endpoint, "{\"content\":\"\",\"path\":\"file\"}", 200, SUCCESS);
    assert_answer(&read_file_endpoint, "{\"path\":\"file\"}", 200, "{\"content\":\"\"}");
}

static void names_what_is_missing(void **state)
{
    (void)state;
    static const struct endpoint *const with_success[] = {
        &write_file_endpoint, &delete_file_endpoint, &delete_dir_endpoint, &make_dir_endpoint};
    for (size_t i = 0; i < sizeof(with_success) / sizeof(with_success[0]); i++) {
        assert_answer(with_success[i], "{\"content\":\"x\"}", 400,
                      "{\"success\":false,\"error\":\"path is "
                      "required\",\"error_code\":\"invalid_request\"}");
    }
    assert_answer(&read_file_endpoint, "{}", 400,
                  "{\"error\":\"path is required\",\"error_code\":\"invalid_request\"}");
    assert_answer(&list_dir_endpoint, "{\"path\":\"\"}", 400,
                  "{\"error\":\"path is required\",\"error_code\":\"invalid_request\"}");
    make_file("file", "old", 3);
    assert_answer(&read_file_endpoint, "{\"path\":\"file\"}", 200, "{\"content\":\"old\"}");
    assert_answer(&write_file_endpoint, "{\"path\":\"file\"}", 200, "{\"success\":true}");
    assert_answer(&read_file_endpoint, "{\"path\":\"file\"}", 200, "{\"content\":\"\"}");
}

static void passes_on_what_the_system_says(void **state)
{
    (void)state;
    assert_answer(
        &read_file_endpoint, "{\"path\":\"missing\"}", 200,
        "{\"error\":\"open missing: No such file or directory\",\"error_code\":\"not_found\"}");
    assert_answer(&read_file_endpoint, "{\"path\":\".\"}", 200,
                  "{\"error\":\"read .: Is a directory\",\"error_code\":\"is_a_directory\"}");
    assert_answer(
        &read_file_endpoint, "{\"path\":\"/proc/self/mem\"}", 200,
        "{\"error\":\"read /proc/self/mem: Input/output error\",\"error_code\":\"io_error\"}");
    assert_answer(
        &list_dir_endpoint, "{\"path\":\"missing\"}", 200,
        "{\"error\":\"open missing: No such file or directory\",\"error_code\":\"not_found\"}");
    assert_answer(&write_file_endpoint, "{\"path\":\"missing/x\",\"content\":\"\"}", 200,
                  "{\"success\":false,\"error\":\"open missing/x: No such file or "
                  "directory\",\"error_code\":\"not_found\"}");
    assert_answer(&write_file_endpoint, "{\"path\":\"/dev/full\",\"content\":\"x\"}", 200,
                  "{\"success\":false,\"error\":\"write /dev/full: No space left on "
                  "device\",\"error_code\":\"no_space\"}");
    assert_answer(&delete_file_endpoint, "{\"path\":\".\"}", 200,
                  "{\"success\":false,\"error\":\"remove .: Is a "
                  "directory\",\"error_code\":\"is_a_directory\"}");
    assert_answer(
        &make_dir_endpoint, "{\"path\":\"/dev/null\"}", 200,
        "{\"success\":false,\"error\":\"mkdir /dev/null: File exists\",\"error_code\":\"exists\"}");
}

static void changes_directories(void **state)
{
    (void)state;
    assert_answer(&make_dir_endpoint, "{\"path\":\"a/b\",\"recursive\":true}", 200, SUCCESS);
    assert_answer(&list_dir_endpoint, "{\"path\":\"a/b\"}", 200, "{\"entries\":[]}");
    make_file("a/q\"\n\xff", "", 0);
    make_file("a/\u00e4", "", 0);
    assert_answer(&list_dir_endpoint, "{\"path\":\"a\"}", 200,
                  "{\"entries\":[\"b\",\"q\\\"\\n\uFFFD\",\"\u00e4\"]}");
    assert_answer(&delete_file_endpoint, "{\"path\":\"a/\u00e4\"}", 200, SUCCESS);
    assert_answer(&delete_dir_endpoint, "{\"path\":\"a\"}", 200, SUCCESS);
    assert_answer(&delete_dir_endpoint, "{\"path\":\"a\"}", 200, SUCCESS);
    assert_answer(&list_dir_endpoint, "{\"path\":\".\"}", 200, "{\"entries\":[]}");
}

static void reads_files_without_size(void **state)
{
    (void)state;
    struct request request = fake_request("{\"path\":\"/proc/self/status\"}", 28);
    endpoint_handle(&read_file_endpoint, &request);
    assert_ptr_equal(strstr(request.answer, "{\"content\":\"Name:\\t"), request.answer);
    assert_string_equal(request.answer + request.answer_length - 2, "\"}");
    fake_request_clear(&request);
}

/* Sequences of three bytes, cut by the pieces at each of their places, and one cut at the end,
 * which is U+FFFD where text is asked for. */
static void reads_large_files_in_pieces(void **state)
{
    (void)state;
    const size_t whole = 300000;
    char *content = malloc(whole + 2), *at = content;
    while (at < content + whole) {
        at = mempcpy(at, "\u20ac", 3);
    }
    (void)mempcpy(at, "\xe2\x82", 2);
    make_file("file", content, whole + 2);
    static const char body[] = "{\"path\":\"file\",\"encoding\":\"utf-8\"}";
    struct request request = fake_request(body, sizeof(body) - 1);
    endpoint_handle(&read_file_endpoint, &request);
    static const char text_end[] = "\uFFFD\uFFFD\",\"is_utf8\":false}";
    assert_int_equal(request.answer_length, strlen("{\"content\":\"") + whole + strlen(text_end));
    assert_memory_equal(request.answer + strlen("{\"content\":\""), content, whole);
    assert_string_equal(request.answer + strlen("{\"content\":\"") + whole, text_end);
    fake_request_clear(&request);
    static const char base64_body[] = "{\"path\":\"file\",\"encoding\":\"base64\"}";
    request = fake_request(base64_body, sizeof(base64_body) - 1);
    endpoint_handle(&read_file_endpoint, &request);
    static const char end[] =
        "4oKs4oI=\",\"is_base64\":true}"; /* the last whole one, and the cut one */
    assert_memory_equal(request.answer, "{\"content\":\"4oKs4oKs", 20);
    assert_string_equal(request.answer + request.answer_length - strlen(end), end);
    fake_request_clear(&request);
    make_file("file", content, whole);
    request = fake_request("{\"path\":\"file\"}", 15);
    endpoint_handle(&read_file_endpoint, &request);
    assert_int_equal(request.answer_length, strlen("{\"content\":\"") + whole + 2);
    fake_request_clear(&request);
    free(content);
}

/* Reads fail with this after so many. 0: never. The names are the linker's (--wrap). */
static int failing_number;
static int reads_until_failure;

/* NOLINTBEGIN(bugprone-reserved-identifier) */
ssize_t __real_io_read_some(int fd, void *data, size_t length);
ssize_t __wrap_io_read_some(int fd, void *data, size_t length);

ssize_t __wrap_io_read_some(int fd, void *data, size_t length)
{
    if (failing_number != 0 && reads_until_failure-- == 0) {
        errno = failing_number;
        return -1;
    }
    return __real_io_read_some(fd, data, length);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static struct request read_failing(int number, int reads)
{
    static char content[1000000];
    memset(content, 'x', sizeof(content));
    make_file("file", content, sizeof(content));
    struct request request = fake_request("{\"path\":\"file\"}", 15);
    failing_number = number;
    reads_until_failure = reads;
    endpoint_handle(&read_file_endpoint, &request);
    failing_number = 0;
    return request;
}

/* An answer that has begun is cut, so that it never looks whole. */
static void cuts_the_answer_when_reading_fails(void **state)
{
    (void)state;
    struct request request = read_failing(EIO, 10);
    assert_true(request.aborted);
    assert_memory_equal(request.answer, "{\"content\":\"xxx", 15);
    assert_int_equal(request.answer[request.answer_length - 1], 'x');
    fake_request_clear(&request);
    for (int reads = 0; reads < 2; reads++) { /* nothing was sent yet */
        request = read_failing(EIO, reads);
        assert_false(request.aborted);
        assert_string_equal(
            request.answer,
            "{\"error\":\"read file: Input/output error\",\"error_code\":\"io_error\"}");
        fake_request_clear(&request);
    }
}

/* As /proc/kmsg, which is read without waiting for what is to come. */
static void ends_where_reading_would_wait(void **state)
{
    (void)state;
    struct request request = read_failing(EAGAIN, 2);
    assert_false(request.aborted);
    assert_string_equal(request.answer + request.answer_length - 4, "xx\"}");
    fake_request_clear(&request);
    request = read_failing(EAGAIN, 0);
    assert_non_null(strstr(request.answer, "{\"error\":\"read file: "));
    fake_request_clear(&request);
}

static void stops_when_the_client_leaves(void **state)
{
    (void)state;
    static const char content[300000];
    make_file("file", content, sizeof(content));
    struct request request = fake_request("{\"path\":\"file\"}", 15);
    request.writable_max = 100000;
    endpoint_handle(&read_file_endpoint, &request);
    assert_true(request.answer_length <= 100000);
    fake_request_clear(&request);
}

static void does_nothing_for_a_bad_body(void **state)
{
    (void)state;
    assert_int_equal(mkdir("dir", 0755), 0);
    assert_answer(&write_file_endpoint, "{\"path\":\"dir/file\\ud83d\",\"content\":\"x\"}", 400,
                  "{\"success\":false,\"error\":\"path contains a lone "
                  "surrogate\",\"error_code\":\"invalid_request\"}");
    assert_answer(&list_dir_endpoint, "{\"path\":\"dir\"}", 200, "{\"entries\":[]}");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, enter_directory, leave_directory)
    const struct CMUnitTest tests[] = {
        TEST(writes_and_reads),
        TEST(names_what_is_missing),
        TEST(passes_on_what_the_system_says),
        TEST(changes_directories),
        TEST(reads_files_without_size),
        TEST(reads_large_files_in_pieces),
        TEST(cuts_the_answer_when_reading_fails),
        TEST(ends_where_reading_would_wait),
        TEST(stops_when_the_client_leaves),
        TEST(does_nothing_for_a_bad_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

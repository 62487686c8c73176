/*
 * The parts below the daemons, each in a small scenario that is run again and again: the first of
 * its calls fails, then the second, ..., until none does. Then the same with all allocations from
 * the first, the second, ... on. A scenario may fail, and says so; it may not claim what it has not
 * done, lose a descriptor, or (AddressSanitizer looks on) memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/line_reader.h"
#include "common/spool.h"
#include "common/user.h"
#include "fcgi-app/endpoints.h"
#include "fcgi-app/files/fs.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/http/spools.h"
#include "fcgi-app/processes/log_cursor.h"
#include "procd/jobs/job_record.h"
#include "procd/log/job_log.h"
#include "procd/log/log_repair.h"
#include "procd/process/process_table.h"
#include "procd/runner/environment.h"
#include "procd/wire/protocol.h"
#include "tests/faults/fault.h"
#include "tests/unit/fake_request.h"

#define CALLS_MAX 2000 /* more means that a scenario has no end */
#define LARGE     ((size_t)300000)

enum outcome { FAILED, DONE, LIED };

static char top[] = "/tmp/test_faults.XXXXXX"; /* the working directory */
static int top_fd = -1;
static char large[LARGE + 1];
static char answer[4 * LARGE];

/* ---- the scenarios ---- */

static enum outcome told(bool done, bool is_true)
{
    return !done ? FAILED : is_true ? DONE : LIED;
}

static enum outcome spools(void)
{
    char byte = 0;
    cleanup_(spool_freep) struct spool *spool = spool_new(top_fd, 100);
    if (spool == NULL || spool_write(spool, large, 80) < 0 ||
        spool_write(spool, large, LARGE) < 0) {
        return FAILED;
    }
    const char *view = spool_view(spool);
    if (view == NULL || spool_read(spool, LARGE, &byte, 1) < 0) {
        return FAILED;
    }
    bool whole = spool_size(spool) == LARGE + 80 && view[LARGE + 79] == 'x' && byte == 'x';
    cleanup_fd int reader = spool_open_reader(spool);
    struct stat status;
    if (reader < 0 || fstat(reader, &status) < 0) {
        return FAILED;
    }
    return told(true, whole && (size_t)status.st_size == LARGE + 80);
}

static enum outcome finds_a_user(void)
{
    cleanup_user struct user user = {0};
    char error[256];
    int found = user_find("games", &user, error, sizeof(error));
    return told(found > 0, user.name != NULL && strcmp(user.name, "games") == 0 &&
                               user.group_count > 0 && user.groups[0] == user.gid);
}

static int count_line(void *context, const struct line *line)
{
    *(size_t *)context += line->held_length + line->tail_length;
    return 0;
}

static void clear_reader(struct line_reader *reader)
{
    line_reader_clear(reader);
}

static enum outcome reads_lines(void)
{
    size_t bytes = 0;
    cleanup_(clear_reader) struct line_reader reader;
    line_reader_init(&reader, top_fd, 100);
    bool done = line_reader_feed(&reader, large, LARGE, count_line, &bytes) == 0 &&
                line_reader_feed(&reader, "y\nz", 3, count_line, &bytes) == 0 &&
                line_reader_end(&reader, count_line, &bytes) == 0;
    return told(done, bytes == LARGE + 2);
}

/* An endpoint's whole answer: `expected`, or an error that says something. */
static enum outcome ask(const struct endpoint *endpoint, const char *body, const char *expected)
{
    struct request request = fake_request(body, strlen(body));
    request.answer = answer; /* the tool's own memory does not fail */
    request.answer_capacity = sizeof(answer);
    answer[0] = '\0';
    endpoint_handle(endpoint, &request);
    if (request.status == 200 && strcmp(answer, expected) == 0) {
        return DONE;
    }
    bool is_error = strstr(answer, "\"error\":\"") != NULL && answer[strlen(answer) - 1] == '}';
    return is_error || request.aborted ? FAILED : LIED;
}

#define SUCCESS "{\"success\":true}"

static bool file_is(const char *path, const char *content)
{
    char text[64] = "";
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    return length >= 0 && strcmp(text, content) == 0;
}

static void make_file(void)
{
    cleanup_fd int fd = open("file", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "old", 3), 3);
}

static enum outcome writes_a_file(void)
{
    return ask(&write_file_endpoint, "{\"path\":\"file\",\"content\":\"new\"}", SUCCESS);
}

/* The old content or the new, and nothing beside it. */
static void check_file(enum outcome outcome)
{
    cleanup_(name_list_clear) struct name_list names = {.text = NULL};
    struct fs_error error;
    assert_true(file_is("file", "new") || (outcome == FAILED && file_is("file", "old")));
    assert_int_equal(fs_list(".", &names, NULL, &error), 0);
    assert_int_equal(names.count, 1);
}

static enum outcome reads_a_file(void)
{
    return ask(&read_file_endpoint, "{\"path\":\"file\"}", "{\"content\":\"old\"}");
}

static void clear_directory(void)
{
    struct fs_error error;
    assert_int_equal(fs_delete_tree("tree", &error), 0);
}

static enum outcome makes_directories(void)
{
    return ask(&make_dir_endpoint, "{\"path\":\"tree/a/b\"}", SUCCESS);
}

static void check_directories(enum outcome outcome)
{
    assert_true(outcome == FAILED || access("tree/a/b", F_OK) == 0);
}

static void make_tree(void)
{
    struct fs_error error;
    assert_int_equal(fs_make_directory("tree/a/b/c", &error), 0);
    assert_int_equal(fs_make_directory("tree/d", &error), 0);
}

static enum outcome lists_a_directory(void)
{
    return ask(&list_dir_endpoint, "{\"path\":\"tree\"}", "{\"entries\":[\"a\",\"d\"]}");
}

static enum outcome deletes_a_tree(void)
{
    return ask(&delete_dir_endpoint, "{\"path\":\"tree\"}", SUCCESS);
}

static void check_no_tree(enum outcome outcome)
{
    assert_true(outcome == FAILED || access("tree", F_OK) < 0);
}

static int count_bytes(void *context, const char *data, size_t length)
{
    (void)data;
    *(size_t *)context += length;
    return 0;
}

static enum outcome read_json(int (*early)(const struct json_body *body))
{
    const struct json_member members[] = {
        {.name = "cmd", .kind = JSON_TEXT},
        {.name = "env", .kind = JSON_ENVIRONMENT},
        {.name = "content", .kind = JSON_CONTENT, .early = early}};
    static char body[LARGE + 100];
    int length =
        snprintf(body, sizeof(body),
                 "{\"cmd\":\"a\",\"env\":{\"A\":\"b\",\"C\":\"d\"},\"content\":\"%s\"}", large);
    struct request request = fake_request(body, (size_t)length);
    request.answer = answer;
    request.answer_capacity = sizeof(answer);
    cleanup_(json_freep) struct json_body *json = json_read(&request, members, 3, 0);
    if (json == NULL) {
        return request.status == 500 || request.status == 409 ? FAILED : LIED;
    }
    size_t count;
    size_t bytes = 0;
    bool done = json_content(json, "content", count_bytes, &bytes) == 0;
    const char *const *environment = json_environment(json, "env", &count);
    return told(done, count == 2 && strcmp(environment[1], "C=d") == 0 && bytes == LARGE);
}

static enum outcome reads_json(void)
{
    return read_json(NULL);
}

static int open_early(const struct json_body *body)
{
    (void)body;
    return fs_write_early("early");
}

static enum outcome reads_content_early(void)
{
    return read_json(open_early);
}

#define JOB_ID "0123abcd-0000-4000-8000-000000000000"

static void empty_job(void)
{
    struct fs_error error;
    assert_int_equal(fs_delete_tree("job", &error), 0);
    assert_int_equal(mkdir("job", 0700), 0);
}

static enum outcome records_a_job(void)
{
    char command[] = "true";
    char cwd[] = "/";
    struct job_record record = {.id = JOB_ID, .age_key = 1, .command = command, .cwd = cwd};
    struct job_record found = {0};
    const struct job_exit ending = {.status = JOB_FAILED, .how = {.code = 3, .reason = END_EXIT}};
    struct job_exit told_ending = {0};
    cleanup_(job_record_draft_close) struct job_record_draft draft = {.fd = -1};
    cleanup_fd int directory = open("job", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || job_exit_reserve(directory) < 0 ||
        job_record_draft(directory, &record, &draft) < 0 || job_record_publish(&draft, 5) < 0 ||
        job_exit_write(directory, &ending) < 0 || job_exit_read(directory, &told_ending) < 0 ||
        job_record_read(directory, JOB_ID, &found) < 0) {
        return FAILED;
    }
    bool same = found.pid == 5 && strcmp(found.command, "true") == 0 && told_ending.how.code == 3;
    job_record_clear(&found);
    return told(true, same);
}

/* A later reader finds all of a record or nothing. */
static void check_record(enum outcome outcome)
{
    struct job_record found = {0};
    cleanup_fd int directory = open("job", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int read = job_record_read(directory, JOB_ID, &found);
    assert_true(read == 0 ? found.pid == 5 : outcome == FAILED && errno == ENOENT);
    job_record_clear(&found);
}

static enum outcome logs(void)
{
    struct job_log log = {.segment = -1, .position_fd = -1};
    struct log_cursor cursor;
    struct log_gap gap;
    static char text[4096];
    cleanup_fd int directory = open("job", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || job_log_open(&log, directory, JOB_ID, 1 << 20) < 0) {
        job_log_close(&log);
        return FAILED;
    }
    for (int i = 0; i < 3; i++) {
        const struct line line = {.tail = "text", .tail_length = 4};
        job_log_line(&log, "stdout", &line);
        job_log_flush(&log);
    }
    uint64_t lost = log.lost;
    job_log_close(&log);
    log_cursor_init(&cursor, directory);
    ssize_t length = log_cursor_seek_newest(&cursor, 10) < 0
                         ? -1
                         : log_cursor_read(&cursor, text, sizeof(text) - 1, &gap);
    log_cursor_clear(&cursor);
    if (length < 0) {
        return FAILED;
    }
    text[length] = '\0';
    size_t lines = 0;
    for (const char *at = text; (at = strstr(at, "\"data\":\"text\"")) != NULL; at++) {
        lines++;
    }
    return told(lost == 0, lines == 3);
}

/* Events that stay are whole, and what a dead runner leaves can be repaired. */
static void check_log(enum outcome outcome)
{
    (void)outcome;
    cleanup_fd int directory = open("job", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(job_log_repair(directory) == 0 || errno == ENOENT);
}

static enum outcome sends_messages(void)
{
    int pair[2];
    char packet[MESSAGE_PACKET_SMALL];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return FAILED;
    }
    cleanup_fd int ours = pair[0];
    cleanup_fd int theirs = pair[1];
    cleanup_message struct message message;
    cleanup_incoming struct incoming incoming = {0};
    message_init(&message, MESSAGE_RUN);
    message_add_text(&message, FIELD_CMD, large);
    message_add_number(&message, FIELD_PID, 7);
    message_add_text(&message, FIELD_ENV, "NAME=value");
    const int descriptors[] = {ours};
    if (message_send(ours, &message, descriptors, 1) < 0 ||
        message_receive(theirs, packet, sizeof(packet), &incoming, MSG_DONTWAIT) != 1 ||
        message_open(&incoming) < 0) {
        return FAILED;
    }
    cleanup_fd int passed = message_take_descriptor(&incoming, 0);
    cleanup_free char **environment = environment_merge(&incoming);
    return told(environment != NULL, passed >= 0 && message_number(&incoming, FIELD_PID, 0) == 7 &&
                                         strcmp(message_text(&incoming, FIELD_CMD), large) == 0);
}

static enum outcome lists_children(void)
{
    cleanup_(pid_list_clear) struct pid_list children = {0};
    return told(process_children(getpid(), &children) == 0, children.count == 0);
}

/* "Another process" would be a reason to kill it. */
static enum outcome knows_a_process(void)
{
    int is = process_file_begins(getpid(), "comm", "test_fa", 7);
    return is < 0 ? FAILED : is == 1 ? DONE : LIED;
}

/* ---- running them ---- */

static const struct scenario {
    const char *name;
    void (*prepare)(void);
    enum outcome (*run)(void);
    void (*check)(enum outcome outcome);
} scenarios[] = {
    {"spools", NULL, spools, NULL},
    {"finds a user", NULL, finds_a_user, NULL},
    {"reads lines", NULL, reads_lines, NULL},
    {"reads json", NULL, reads_json, NULL},
    {"reads content early", NULL, reads_content_early, NULL},
    {"writes a file", make_file, writes_a_file, check_file},
    {"reads a file", make_file, reads_a_file, NULL},
    {"makes directories", clear_directory, makes_directories, check_directories},
    {"lists a directory", make_tree, lists_a_directory, NULL},
    {"deletes a tree", make_tree, deletes_a_tree, check_no_tree},
    {"records a job", empty_job, records_a_job, check_record},
    {"logs", empty_job, logs, check_log},
    {"sends messages", NULL, sends_messages, NULL},
    {"lists children", NULL, lists_children, NULL},
    {"knows a process", NULL, knows_a_process, NULL},
};

static size_t count_descriptors(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* One run in which call number `at`, and the `count` - 1 after it, fail. False when none did. */
static bool run_once(const struct scenario *scenario, enum fault_kind kinds, uint32_t at,
                     uint32_t count)
{
    const char *call;
    if (scenario->prepare != NULL) {
        scenario->prepare();
    }
    size_t descriptors = count_descriptors();
    errno = 0;
    fault_arm(kinds, at, count);
    enum outcome outcome = scenario->run();
    bool fired = fault_disarm(&call);
    if (outcome == LIED || (!fired && outcome != DONE) || count_descriptors() != descriptors) {
        fail_msg("%s, call %u (%s): %s, %zu descriptors more", scenario->name, at,
                 fired ? call : "none",
                 outcome == LIED   ? "lied"
                 : outcome == DONE ? "done"
                                   : "failed",
                 count_descriptors() - descriptors);
    }
    if (scenario->check != NULL) {
        scenario->check(outcome);
    }
    return fired;
}

static void test_scenario(void **state)
{
    const struct scenario *scenario = *state;
    assert_false(run_once(scenario, FAULT_ANY, CALLS_MAX, 1));
    for (uint32_t at = 1; run_once(scenario, FAULT_ANY, at, 1); at++) {
        assert_true(at < CALLS_MAX);
    }
    for (uint32_t at = 1; run_once(scenario, FAULT_MEMORY, at, UINT32_MAX); at++) {
        assert_true(at < CALLS_MAX);
    }
}

/* Each group begins in a directory with nothing in it. */
static int enter_directory(void **state)
{
    (void)state;
    struct fs_error error;
    if (fs_delete_tree(top, &error) != 0 || mkdir(top, 0755) != 0 || chdir(top) != 0) {
        return -1;
    }
    return 0;
}

static int leave_directory(void **state)
{
    (void)state;
    struct fs_error error;
    return chdir("/") != 0 || fs_delete_tree(top, &error) != 0;
}

int main(void)
{
    struct CMUnitTest tests[sizeof(scenarios) / sizeof(scenarios[0])];
    memset(large, 'x', LARGE);
    if (mkdtemp(top) == NULL) {
        return 1;
    }
    top_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    spools_init(top_fd);
    json_init(0, JSON_IN_MEMORY);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        tests[i] = (struct CMUnitTest){.name = scenarios[i].name,
                                       .test_func = test_scenario,
                                       .setup_func = enter_directory,
                                       .teardown_func = leave_directory,
                                       .initial_state = (void *)(uintptr_t)&scenarios[i]};
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close_fd(&top_fd);
    return failed;
}

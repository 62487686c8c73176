/*
 * What procd finds in its state directory when it starts, and what it keeps of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "procd/daemon/registry.h"
#include "procd/jobs/job_record.h"
#include "procd/log/job_files.h"
#include "procd/wire/client.h"
#include "procd/wire/protocol.h"
#include "tests/unit/procd_fixture.h"

static int open_jobs(void)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/state/jobs", procd.run);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    return fd;
}

static void write_record(int directory, const struct job_record *record)
{
    cleanup_(job_record_draft_close) struct job_record_draft draft = {.fd = -1};
    assert_int_equal(job_record_draft(directory, record, &draft), 0);
    assert_int_equal(job_record_publish(&draft, record->pid), 0);
}

/* The time since the boot at this date, or an early one that is as good. Keeps the order. */
static uint64_t boot_time(uint64_t date)
{
    static uint64_t boot_date;
    boot_date = boot_date == 0 ? clock_date_ns() - clock_boot_ns() : boot_date;
    return date > boot_date ? date - boot_date : date;
}

/* Makes the files of a job by hand. Returns its directory. */
static int make_job(int jobs, const char *id, uint64_t started_at, bool with_record, bool with_exit)
{
    assert_int_equal(mkdirat(jobs, id, 0700), 0);
    int directory = openat(jobs, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(directory >= 0);
    if (with_record) {
        char command[] = "made by hand";
        char directory_name[] = "/somewhere";
        struct job_record record = {.pid = 77,
                                    .started_at = started_at,
                                    .age_key = boot_time(started_at),
                                    .command = command,
                                    .cwd = directory_name};
        snprintf(record.id, sizeof(record.id), "%s", id);
        write_record(directory, &record);
    }
    if (with_exit) {
        const struct job_exit ending = {.status = JOB_FAILED,
                                        .how = {.code = 3, .reason = END_EXIT},
                                        .ended_at = started_at + 5,
                                        .ended_boot_ns = boot_time(started_at + 5)};
        assert_int_equal(job_exit_reserve(directory), 0);
        assert_int_equal(job_exit_write(directory, &ending), 0);
    }
    return directory;
}

static void records_read_as_written(void **state)
{
    (void)state;
    char path[] = "/tmp/test-record.XXXXXX";
    assert_non_null(mkdtemp(path));
    int directory = open(path, O_RDONLY | O_DIRECTORY);
    struct job_record record = {.id = "550e8400-e29b-41d4-a716-446655440000",
                                .pid = 12,
                                .started_at = UINT64_C(1) << 62,
                                .age_key = 13};
    struct job_record read = {.pid = 0};
    assert_int_equal(job_record_read(directory, record.id, &read), -1);
    assert_int_equal(errno, ENOENT);
    char *cmd = malloc(300001);
    for (int i = 0; i < 300000; i += 3) {
        memcpy(cmd + i, "\xe2\x82\xac", 3);
    }
    cmd[300000] = '\0';
    record.command = command_shown(cmd);
    record.cwd = command_shown("/somewhere");
    memset(record.request_id, 'r', REQUEST_ID_SIZE - 1); /* the longest */
    assert_true(strlen(record.command) <= COMMAND_SHOWN_MAX);
    size_t shown = strlen(record.command) - 3;
    assert_int_equal(shown % 3, 0); /* no character is cut */
    assert_memory_equal(record.command, cmd, shown);
    assert_string_equal(record.command + shown, "\xe2\x80\xa6");
    write_record(directory, &record);
    assert_int_equal(job_record_read(directory, record.id, &read), 0);
    assert_string_equal(read.id, record.id);
    assert_string_equal(read.command, record.command);
    assert_string_equal(read.cwd, "/somewhere");
    assert_string_equal(read.request_id, record.request_id);
    assert_int_equal(read.pid, 12);
    assert_true(read.started_at == record.started_at && read.age_key == record.age_key);
    job_record_clear(&read);
    job_record_clear(&record);
    free(cmd);

    struct job_exit ending = {.status = JOB_KILLED,
                              .how = {.code = -1,
                                      .signal = 9,
                                      .reason = END_TIMEOUT,
                                      .cpu_user_ms = 6,
                                      .cpu_system_ms = 7,
                                      .max_rss_kb = 8},
                              .ended_at = 5};
    struct job_exit told;
    assert_int_equal(job_exit_reserve(directory), 0);
    assert_int_equal(job_exit_read(directory, &told), -1); /* the reserve is no record */
    assert_int_equal(job_exit_write(directory, &ending), 0);
    assert_int_equal(job_exit_read(directory, &told), 0);
    assert_int_equal(told.status, ending.status); /* field by field: between them lies padding */
    assert_int_equal(told.how.code, ending.how.code);
    assert_int_equal(told.how.signal, ending.how.signal);
    assert_int_equal(told.how.reason, ending.how.reason);
    assert_true(told.ended_at == ending.ended_at &&
                told.how.cpu_user_ms == ending.how.cpu_user_ms &&
                told.how.cpu_system_ms == ending.how.cpu_system_ms &&
                told.how.max_rss_kb == ending.how.max_rss_kb);

    int fd = openat(directory, JOB_EXIT_FILE, O_WRONLY);
    assert_int_equal(ftruncate(fd, 30), 0); /* damaged */
    close(fd);
    assert_int_equal(job_exit_read(directory, &told), -1);
    assert_int_equal(errno, EBADMSG);
    unlinkat(directory, JOB_EXIT_FILE, 0);
    unlinkat(directory, JOB_RECORD_FILE, 0);
    close(directory);
    assert_int_equal(rmdir(path), 0);
}

/* Writes a message as a file, with `version` as the character of its version. */
static void write_message(int directory, const char *name, struct message *message, char version)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(message_overwrite_file(fd, message), 0);
    assert_int_equal(pwrite(fd, &version, 1, 3), 1);
    close(fd);
    message_clear(message);
}

/* A job that is found at procd's start, with a record of a version. Returns its directory. */
static int make_job_of_version(const char *id, const char *command, char version)
{
    procd_end(SIGKILL);
    cleanup_fd int jobs = open_jobs();
    int directory = make_job(jobs, id, 1, false, false);
    struct message message;
    message_init(&message, MESSAGE_RECORD);
    message_add_text(&message, FIELD_ID, id);
    message_add_number(&message, FIELD_PID, 99);
    message_add_number(&message, FIELD_STARTED_AT, 1);
    message_add_number(&message, FIELD_AGE_KEY, 1);
    message_add_text(&message, FIELD_COMMAND, command);
    message_add_text(&message, FIELD_CWD, "/");
    write_message(directory, JOB_RECORD_FILE, &message, version);
    return directory;
}

/* An exit record that lacks fields is read as far as it goes. */
static void records_that_lack_fields_are_read(void **state)
{
    (void)state;
    static const char id[] = "30000000-0000-4000-8000-000000000001";
    int directory = make_job_of_version(id, "old", '1');
    struct message message;
    message_init(&message, MESSAGE_EXITED);
    message_add_number(&message, FIELD_STATUS, JOB_FAILED);
    message_add_number(&message, FIELD_CODE, -1);
    message_add_number(&message, FIELD_SIGNAL, SIGSEGV);
    message_add_number(&message, FIELD_ENDED_AT, (int64_t)time(NULL) * 1000000000);
    write_message(directory, JOB_EXIT_FILE, &message, '1');
    close(directory);
    procd_launch();
    struct job job = find_job(id);
    assert_int_equal(job.pid, 99);
    assert_int_equal(job.status, JOB_FAILED);
    assert_int_equal(job.ending.signal, SIGSEGV);
    assert_int_equal(job.ending.reason, END_LOST);
    enum job_status status;
    assert_int_equal(procd_delete(id, &status), PROCD_DONE);
}

/* What a later version has written is neither taken for something else nor removed. */
static void records_of_another_version_are_left_alone(void **state)
{
    (void)state;
    static const char id[] = "30000000-0000-4000-8000-000000000002";
    int directory = make_job_of_version(id, "new", '9');
    procd_launch();
    assert_int_equal(procd_ping(NULL, DEADLINE_MS), PROCD_DONE);
    struct job_record record;
    assert_int_equal(job_record_read(directory, id, &record), -1);
    assert_int_equal(errno, EPROTONOSUPPORT);
    assert_string_equal(find_job(id).id, "");
    assert_int_equal(faccessat(directory, JOB_RECORD_FILE, F_OK, 0), 0);
    close(directory);
}

/* A job's id is the name of a directory: a record that says another one is not believed. */
static void a_record_cannot_speak_for_another_directory(void **state)
{
    (void)state;
    static const char id[] = "30000000-0000-4000-8000-000000000003";
    static const char elsewhere[] = "../../victim/././././././././././../";
    char path[200];
    assert_int_equal(strlen(elsewhere), JOB_ID_SIZE - 1);
    procd_end(SIGKILL);
    snprintf(path, sizeof(path), "%s/victim", procd.run);
    assert_int_equal(mkdir(path, 0700), 0);
    cleanup_fd int jobs = open_jobs();
    cleanup_fd int directory = make_job(jobs, id, 1, false, false);
    struct message message;
    message_init(&message, MESSAGE_RECORD);
    message_add_text(&message, FIELD_ID, elsewhere);
    message_add_text(&message, FIELD_COMMAND, "forged");
    write_message(directory, JOB_RECORD_FILE, &message, '1');
    procd_launch();
    enum job_status status;
    assert_int_equal(procd_delete(elsewhere, &status), PROCD_NOT_FOUND);
    assert_int_equal(procd_delete(id, &status), PROCD_NOT_FOUND);
    assert_int_equal(rmdir(path), 0); /* it is there, and empty */
}

struct counted {
    size_t count, finished, running;
    uint64_t oldest_finished;
};

static void count_job(void *context, const struct job *job)
{
    struct counted *counted = context;
    counted->count++;
    if (job->status == JOB_RUNNING) {
        counted->running++;
    } else {
        if (counted->finished++ == 0) {
            counted->oldest_finished = job->started_at;
        }
    }
}

static void keeps_the_newest_finished(void **state)
{
    (void)state;
    enum { KEPT = 1000, MADE = KEPT + 50 }; /* by default */
    struct job running;
    struct spawn_error error;
    const struct command sleeper = {.cmd = "sleep 1000"};
    assert_int_equal(procd_start(&sleeper, &running, &error), PROCD_DONE);
    procd_end(SIGTERM);
    int jobs = open_jobs();
    uint64_t first = running.started_at - UINT64_C(1000000000);
    for (unsigned i = 0; i < MADE; i++) {
        char id[JOB_ID_SIZE];
        snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012x", i);
        close(make_job(jobs, id, first + i, true, true));
    }
    procd_launch();
    struct counted counted = {0};
    assert_int_equal(procd_list(false, count_job, &counted), PROCD_DONE);
    assert_int_equal(counted.finished, KEPT);
    assert_int_equal(counted.running, 1);
    assert_true(counted.oldest_finished == first + 50);
    assert_int_equal(faccessat(jobs, "00000000-0000-4000-8000-000000000000", F_OK, 0), -1);
    assert_int_equal(faccessat(jobs, "00000000-0000-4000-8000-000000000032", F_OK, 0), 0);

    /* One more that ends makes the next oldest go, with its files; the running one stays. */
    struct job job;
    const struct command quick = {.cmd = "true"};
    assert_int_equal(procd_start(&quick, &job, &error), PROCD_DONE);
    await_job_end(job.id);
    counted = (struct counted){0};
    assert_int_equal(procd_list(false, count_job, &counted), PROCD_DONE);
    assert_int_equal(counted.finished, KEPT);
    assert_true(counted.oldest_finished == first + 51);
    assert_int_equal(faccessat(jobs, "00000000-0000-4000-8000-000000000032", F_OK, 0), -1);
    assert_int_equal(find_job(running.id).status, JOB_RUNNING);
    enum job_status status;
    assert_int_equal(kill_job(running.id, &status), PROCD_DONE);
    assert_int_equal(find_job(running.id).status, JOB_KILLED); /* it began first and ended last */
    close(jobs);
}

static bool is_listed(const void *id)
{
    return find_job(id).id[0] != '\0';
}

/* How often procd has gone to sleep. */
static long rests(void)
{
    char path[64];
    char line[128];
    long count = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)procd.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (count < 0 && fgets(line, sizeof(line), file) != NULL) {
        sscanf(line, "voluntary_ctxt_switches: %ld", &count); /* NOLINT(cert-err34-c) */
    }
    fclose(file);
    return count;
}

static bool rests_more_than(const void *count)
{
    return rests() > *(const long *)count;
}

/* Lets procd look so many times for who is not born yet, without a descriptor left to do it. */
static void looks_without_descriptors(long times)
{
    char path[64];
    rlim_t lowest = 0; /* that is free */
    struct rlimit before;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)procd.pid);
    cleanup_fd int descriptors = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(descriptors >= 0);
    do {
        snprintf(path, sizeof(path), "%llu", (unsigned long long)lowest);
    } while (faccessat(descriptors, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 && lowest++ < 1000);
    assert_int_equal(prlimit(procd.pid, RLIMIT_NOFILE, NULL, &before), 0);
    const struct rlimit none = {.rlim_cur = lowest, .rlim_max = before.rlim_max};
    assert_int_equal(prlimit(procd.pid, RLIMIT_NOFILE, &none, NULL), 0);
    const long until = rests() + times;
    await(rests_more_than, &until);
    assert_int_equal(prlimit(procd.pid, RLIMIT_NOFILE, &before, NULL), 0);
}

static void tells_the_lost_from_the_unborn(void **state)
{
    (void)state;
    static const char lost[] = "10000000-0000-4000-8000-000000000001";
    static const char dead[] = "10000000-0000-4000-8000-000000000002";
    static const char unborn[] = "10000000-0000-4000-8000-000000000003";
    static const char strange[] = "not-a-job";
    procd_end(SIGKILL);
    int jobs = open_jobs();
    close(make_job(jobs, lost, 1, true, false));  /* its runner has died */
    close(make_job(jobs, dead, 2, false, false)); /* never begun */
    close(make_job(jobs, strange, 3, false, false));
    int held = make_job(jobs, unborn, 4, false, false); /* a runner has it and is about to begin */
    assert_int_equal(flock(held, LOCK_EX), 0);
    procd_launch();
    struct job job = find_job(lost);
    assert_int_equal(job.status, JOB_FAILED);
    assert_int_equal(job.ending.code, -1);
    int directory;
    assert_int_equal(procd_open_job(lost, &directory), PROCD_DONE);
    struct job_exit ending;
    assert_int_equal(job_exit_read(directory, &ending), 0);
    assert_int_equal(ending.how.reason, END_LOST);
    close(directory);
    assert_int_equal(procd_open_job(dead, &directory), PROCD_NOT_FOUND);
    assert_int_equal(faccessat(jobs, dead, F_OK, 0), -1);
    assert_int_equal(faccessat(jobs, strange, F_OK, 0), 0); /* not ours */
    assert_int_equal(procd_open_job(strange, &directory), PROCD_NOT_FOUND);
    assert_false(is_listed(unborn));
    assert_int_equal(faccessat(jobs, unborn, F_OK, 0), 0);
    looks_without_descriptors(5);
    char command[] = "born";
    struct job_record record = {
        .pid = 5, .started_at = 4, .age_key = 4, .command = command, .cwd = command};
    snprintf(record.id, sizeof(record.id), "%s", unborn);
    write_record(held, &record);
    await(is_listed, unborn);
    assert_int_equal(find_job(unborn).status, JOB_RUNNING);
    close(held); /* and dies */
    await_job_end(unborn);
    assert_int_equal(find_job(unborn).status, JOB_FAILED);
    close(jobs);
}

static void keep_status(void *context, const struct job *job)
{
    *(enum job_status *)context = job->status;
}

/*
 * Whoever has seen the exit record is not told that the job runs. Here procd has found no socket of
 * the runners, as when it looks for one right when the job ends, and would look again a little
 * later.
 */
static void tells_no_older_end_than_the_record(void **state)
{
    (void)state;
    enum { JOBS = 20 };
    int held[JOBS];
    char ids[JOBS][JOB_ID_SIZE];
    procd_end(SIGKILL);
    int jobs = open_jobs();
    for (unsigned i = 0; i < JOBS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "20000000-0000-4000-8000-%012x", i);
        held[i] = make_job(jobs, ids[i], i + 1, true, false);
        assert_int_equal(flock(held[i], LOCK_EX), 0);
        assert_int_equal(job_exit_reserve(held[i]), 0);
    }
    procd_launch();
    for (int i = 0; i < JOBS; i++) {
        const struct job_exit ending = {
            .status = JOB_COMPLETED, .ended_at = clock_date_ns(), .ended_boot_ns = clock_boot_ns()};
        enum job_status status = JOB_FAILED;
        assert_int_equal(procd_get(ids[i], keep_status, &status), PROCD_DONE);
        assert_int_equal(status, JOB_RUNNING);
        assert_int_equal(job_exit_write(held[i], &ending), 0);
        assert_int_equal(procd_get(ids[i], keep_status, &status), PROCD_DONE);
        assert_int_equal(status, JOB_COMPLETED);
        close(held[i]);
    }
    close(jobs);
}

/* Whatever order the directory has them in: as many as are to be kept, then as many as by default.
 */
static void finds_thousands(void **state)
{
    (void)state;
    enum { MADE = 2000 };
    procd_end(SIGKILL);
    cleanup_fd int jobs = open_jobs();
    for (int i = 0; i < MADE; i++) {
        char id[JOB_ID_SIZE];
        snprintf(id, sizeof(id), "40000000-0000-4000-8000-%012d", i);
        close(make_job(jobs, id, (uint64_t)time(NULL) * 1000000000 + (uint64_t)(i * 779 % MADE),
                       true, true));
    }
    setenv("SANDBOX_KEEP_FINISHED", "2500", 1);
    procd_launch();
    struct counted counted = {0};
    assert_int_equal(procd_list(false, count_job, &counted), PROCD_DONE);
    assert_true(counted.finished >= MADE);
    unsetenv("SANDBOX_KEEP_FINISHED");
    procd_end(SIGKILL);
    procd_launch();
    counted = (struct counted){0};
    assert_int_equal(procd_list(false, count_job, &counted), PROCD_DONE);
    assert_int_equal(counted.finished, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_read_as_written),
        cmocka_unit_test(records_that_lack_fields_are_read),
        cmocka_unit_test(records_of_another_version_are_left_alone),
        cmocka_unit_test(a_record_cannot_speak_for_another_directory),
        cmocka_unit_test(keeps_the_newest_finished),
        cmocka_unit_test(tells_the_lost_from_the_unborn),
        cmocka_unit_test(tells_no_older_end_than_the_record),
        cmocka_unit_test(finds_thousands),
    };
    return cmocka_run_group_tests(tests, procd_setup, procd_teardown);
}

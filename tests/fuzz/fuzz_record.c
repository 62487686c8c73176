/*
 * The records of a job on the disk (procd/jobs/job_record.h, procd/log/job_position.h), which a
 * command of the same user can damage: what is read is whole and within its ranges, and is the same
 * when it is written and read again.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "procd/jobs/job_record.h"
#include "procd/log/job_files.h"
#include "procd/log/job_position.h"
#include "tests/fuzz/fuzz.h"

static const char id[] = "550e8400-e29b-41d4-a716-446655440000";

static void assert_damaged(void)
{
    assert(errno == EBADMSG || errno == EPROTONOSUPPORT);
}

static void check_record(int directory)
{
    struct job_record record;
    struct job_record again;
    if (job_record_read(directory, id, &record) < 0) {
        assert_damaged();
        return;
    }
    cleanup_free char *shown = command_shown(record.command);
    assert(shown != NULL && strlen(shown) <= COMMAND_SHOWN_MAX);
    struct job_record_draft draft;
    assert(job_record_draft(directory, &record, &draft) == 0);
    assert(job_record_publish(&draft, record.pid) == 0);
    job_record_draft_close(&draft);
    assert(job_record_read(directory, id, &again) == 0);
    assert(strcmp(record.id, again.id) == 0 && strcmp(record.command, again.command) == 0 &&
           strcmp(record.cwd, again.cwd) == 0 && strcmp(record.request_id, again.request_id) == 0 &&
           record.pid == again.pid && record.started_at == again.started_at);
    job_record_clear(&again);
    job_record_clear(&record);
}

static void check_exit(int directory)
{
    struct job_exit ending;
    struct job_exit again;
    if (job_exit_read(directory, &ending) < 0) {
        assert_damaged();
        return;
    }
    assert(ending.status > JOB_RUNNING && ending.status <= JOB_KILLED);
    assert(ending.how.reason > END_UNKNOWN && ending.how.reason <= END_LOST);
    assert(job_exit_reserve(directory) == 0 && job_exit_write(directory, &ending) == 0);
    assert(job_exit_read(directory, &again) == 0);
    assert(ending.status == again.status && ending.how.code == again.how.code &&
           ending.how.signal == again.how.signal && ending.how.reason == again.how.reason &&
           ending.ended_at == again.ended_at && ending.how.max_rss_kb == again.how.max_rss_kb);
}

static void check_position(int directory)
{
    struct job_position position;
    struct job_position again;
    if (job_position_read(directory, &position) < 0) {
        assert_damaged();
        return;
    }
    assert(position.first_offset <= position.next_offset);
    assert(position.first_line <= position.next_line);
    assert(position.lines_dropped <= position.next_line);
    cleanup_fd int fd = job_position_create(directory, &position);
    assert(fd >= 0 && job_position_read(directory, &again) == 0);
    assert(memcmp(&position, &again, sizeof(position)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int directory = scratch_directory();
    int lowest = lowest_descriptor();
    scratch_file(JOB_RECORD_FILE, data, size);
    scratch_file(JOB_EXIT_FILE, data, size);
    scratch_file(JOB_POSITION_FILE, data, size);
    check_record(directory);
    check_exit(directory);
    check_position(directory);
    assert(lowest_descriptor() == lowest);
    return 0;
}

/*
 * The log of a job, with files that are damaged in any way: the repair after a dead runner, and the
 * cursor that follows it. The input is a row of chunks, each a file of the job's directory (with
 * its name and its bytes), and at last what the cursor is asked.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "fcgi-app/processes/log_cursor.h"
#include "procd/log/event_id.h"
#include "procd/log/job_files.h"
#include "procd/log/job_position.h"
#include "procd/log/job_segment.h"
#include "procd/log/log_repair.h"
#include "tests/fuzz/fuzz.h"

#define FILES_MAX 8
#define READ_MAX  4096

/* ---- the files ---- */

enum chunk { CHUNK_NEXT, CHUNK_AT, CHUNK_NAMED, CHUNK_POSITION, CHUNK_KINDS };

struct files {
    uint64_t end;   /* of the newest segment that follows the one before */
    uint64_t total; /* bytes in all segments */
};

/* A name that begins as a segment's, from bytes of the input; false if it cannot be a file's. */
static bool take_name(struct input *input, char name[JOB_SEGMENT_NAME_SIZE])
{
    size_t length = (size_t)input_number(input, 1) % (JOB_SEGMENT_NAME_SIZE - 8);
    const char *bytes = input_bytes(input, &length);
    (void)snprintf(name, JOB_SEGMENT_NAME_SIZE, JOB_SEGMENT_PREFIX "%.*s", (int)length, bytes);
    return strchr(name, '/') == NULL;
}

static void take_file(struct input *input, struct files *files)
{
    char name[JOB_SEGMENT_NAME_SIZE];
    enum chunk chunk = (enum chunk)(input_number(input, 1) % CHUNK_KINDS);
    switch (chunk) {
    case CHUNK_AT:
        files->end = input_number(input, 8);
        /* fall through */
    case CHUNK_NEXT:
    default: job_segment_name(name, files->end); break;
    case CHUNK_NAMED:
        if (!take_name(input, name)) {
            return;
        }
        break;
    case CHUNK_POSITION: (void)snprintf(name, sizeof(name), "%s", JOB_POSITION_FILE); break;
    }
    size_t length = (size_t)input_number(input, 2);
    const char *bytes = input_bytes(input, &length);
    scratch_file(name, bytes, length);
    if (chunk != CHUNK_POSITION) {
        files->end += length;
        files->total += length;
    }
}

/* ---- the cursor ---- */

/* What was handed out is what the segment holds there. */
static void check_bytes(const struct log_cursor *cursor, const char *data, size_t length)
{
    char same[READ_MAX];
    off_t at = (off_t)(cursor->offset - length - cursor->start);
    assert(pread(cursor->segment, same, length, at) == (ssize_t)length);
    assert(memcmp(same, data, length) == 0);
}

/* Reads to the end, which must come, `size` bytes at a time. */
static void read_all(struct log_cursor *cursor, size_t size, const struct files *files)
{
    char data[READ_MAX];
    struct log_gap gap;
    uint64_t total = 0;
    ssize_t length;
    while ((length = log_cursor_read(cursor, data, size, &gap)) > 0) {
        assert((size_t)length <= size && cursor->offset <= cursor->whole);
        assert(memchr(gap.next_id, '\0', sizeof(gap.next_id)) != NULL);
        check_bytes(cursor, data, (size_t)length);
        total += (uint64_t)length;
        assert(total <= files->total);
        if (length > 1 && total % 5 == 0) {
            log_cursor_unread(cursor, 1);
            total--;
        }
    }
}

static void check_newest(int directory, uint64_t lines, size_t size, const struct files *files)
{
    struct log_cursor cursor;
    log_cursor_init(&cursor, directory);
    if (log_cursor_seek_newest(&cursor, lines) == 0) {
        read_all(&cursor, size, files);
    }
    log_cursor_clear(&cursor);
}

static void check_after(int directory, const char *text, size_t length, size_t size,
                        const struct files *files)
{
    struct event_id id;
    struct log_cursor cursor;
    if (!event_id_parse(text, length, &id)) {
        return;
    }
    log_cursor_init(&cursor, directory);
    if (log_cursor_seek_after(&cursor, &id) == LOG_SEEK_DONE) {
        read_all(&cursor, size, files);
    }
    log_cursor_clear(&cursor);
}

static void follow(int directory, struct input input, const struct files *files)
{
    struct log_cursor cursor;
    size_t size = 64 + (size_t)input_number(&input, 1) * 15;
    uint64_t lines = input_number(&input, 1);
    log_cursor_init(&cursor, directory);
    read_all(&cursor, size, files);
    log_cursor_clear(&cursor);
    check_newest(directory, lines, size, files);
    check_newest(directory, UINT64_MAX, size, files);
    check_after(directory, (const char *)input.data, input.left, size, files);
}

/* ---- the repair ---- */

/* A log that was repaired has a position, and stays as it is when it is repaired again. */
static void check_repair(int directory)
{
    struct job_position once;
    struct job_position twice;
    uint64_t first;
    uint64_t after;
    if (job_log_repair(directory) < 0) {
        return;
    }
    assert(job_segment_find(directory, JOB_SEGMENT_NONE - 1, &first, &after) == 0);
    if (first == JOB_SEGMENT_NONE) {
        return; /* nothing to repair */
    }
    assert(job_position_read(directory, &once) == 0);
    assert(job_log_repair(directory) == 0);
    assert(job_position_read(directory, &twice) == 0);
    assert(memcmp(&once, &twice, sizeof(once)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct files files = {0};
    int directory = scratch_directory();
    int lowest = lowest_descriptor();
    size_t count = (size_t)input_number(&input, 1) % FILES_MAX;
    for (size_t i = 0; i < count; i++) {
        take_file(&input, &files);
    }
    follow(directory, input, &files);
    check_repair(directory);
    follow(directory, input, &files);
    assert(lowest_descriptor() == lowest);
    return 0;
}

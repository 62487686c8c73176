/*
 * The byte log of a terminal on the disk, and the cursor that reads it: every byte, rotation, what
 * retention and a full disk have cost, and where the log begins and ends.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "procd/log/byte_cursor.h"
#include "procd/log/byte_log.h"
#include "procd/log/job_files.h"
#include "procd/log/job_segment.h"
#include "procd/log/log_repair.h"
#include "procd/log/terminal_size.h"

#define MIB ((uint64_t)1 << 20)

static char path[64];
static int directory = -1;

static int make_directory(void **state)
{
    (void)state;
    strcpy(path, "/tmp/test-byte-log.XXXXXX");
    directory = mkdtemp(path) == NULL ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory < 0 ? -1 : 0;
}

static int remove_directory(void **state)
{
    (void)state;
    (void)directory_empty(directory);
    close_fd(&directory);
    return rmdir(path);
}

/* The byte at an offset of the log: any two stretches differ. */
static char byte_at(uint64_t offset)
{
    uint64_t mixed = (offset + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return (char)(mixed >> 56);
}

static void append(struct byte_log *log, size_t length)
{
    char *data = malloc(length + 1);
    assert_non_null(data);
    for (size_t i = 0; i < length; i++) {
        data[i] = byte_at(log->next + i);
    }
    byte_log_write(log, data, length);
    free(data);
}

/* Reads all there is now; every byte must be the one of its offset. The gaps, summed up. */
static uint64_t read_all(struct byte_cursor *cursor, size_t size)
{
    char data[70000];
    uint64_t gaps = 0;
    for (;;) {
        uint64_t gap;
        uint64_t before = cursor->offset;
        ssize_t count = byte_cursor_read(cursor, data, size, &gap);
        assert_true(count >= 0);
        assert_int_equal(cursor->offset, before + gap + (uint64_t)count);
        gaps += gap;
        for (ssize_t i = 0; i < count; i++) {
            assert_int_equal(data[i], byte_at(cursor->offset - (uint64_t)(count - i)));
        }
        if (count == 0) {
            return gaps;
        }
    }
}

static int count_segments(void)
{
    int count = 0;
    cleanup_directory DIR *entries = directory_list(directory);
    for (const char *name; (name = directory_next(entries)) != NULL;) {
        count += strncmp(name, BYTE_SEGMENT_PREFIX, strlen(BYTE_SEGMENT_PREFIX)) == 0;
    }
    return count;
}

static void assert_bounds(uint64_t first, uint64_t next)
{
    uint64_t found_first;
    uint64_t found_next;
    assert_int_equal(byte_log_bounds(directory, &found_first, &found_next), 0);
    assert_int_equal(found_first, first);
    assert_int_equal(found_next, next);
}

static void test_a_reader_beside_the_writer(void **state)
{
    (void)state;
    struct byte_log log = BYTE_LOG_NONE;
    struct byte_cursor cursor;
    assert_int_equal(byte_log_open(&log, directory, 64 * MIB), 0);
    byte_cursor_open(&cursor, directory, 0);
    assert_int_equal(read_all(&cursor, 100), 0);
    assert_bounds(0, 0);
    for (size_t length = 1; length < 5000; length = length * 3 + 1) {
        append(&log, length);
        assert_int_equal(read_all(&cursor, 1000), 0);
        assert_int_equal(cursor.offset, log.next);
        assert_bounds(0, log.next);
    }
    byte_log_close(&log);
    assert_int_equal(read_all(&cursor, 1000), 0);
    assert_int_equal(job_log_repair(directory), 0); /* of lines, which are none */
    assert_bounds(0, cursor.offset);
    byte_cursor_close(&cursor);
}

static void test_rotation(void **state)
{
    (void)state;
    struct byte_log log = BYTE_LOG_NONE;
    struct byte_cursor near;
    struct byte_cursor far;
    assert_int_equal(byte_log_open(&log, directory, 1 * MIB), 0);
    byte_cursor_open(&near, directory, 0);
    byte_cursor_open(&far, directory, 0);
    append(&log, 1000);
    assert_int_equal(read_all(&far, 500), 0); /* it holds the first segment open */
    for (int i = 0; i < 1000; i++) {
        append(&log, 3000);
        assert_int_equal(read_all(&near, 4096), 0);
    }
    assert_int_equal(near.offset, log.next);
    uint64_t first;
    uint64_t next;
    assert_int_equal(byte_log_bounds(directory, &first, &next), 0);
    assert_int_equal(next, log.next);
    assert_in_range(next - first, MIB * 7 / 8, MIB);
    uint64_t left = 65536 + 3000 - 1000; /* at most, of the segment that is open */
    uint64_t gap = read_all(&far, 70000);
    assert_in_range(gap, first - 1000 - left, first - 1000);
    assert_int_equal(far.offset, log.next);
    assert_in_range(count_segments(), 14, 18);
    byte_cursor_open(&far, directory, first + 12345);
    assert_int_equal(read_all(&far, 70000), 0);
    byte_cursor_close(&far);
    byte_cursor_close(&near);
    byte_log_close(&log);
}

/* A limit of the size of files is like a full disk: a write is short, and the next one fails. */
static void limit_files(rlim_t most)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = most;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_full_disk(void **state)
{
    (void)state;
    struct byte_log log = BYTE_LOG_NONE;
    struct byte_cursor cursor;
    assert_int_equal(byte_log_open(&log, directory, 64 * MIB), 0);
    byte_cursor_open(&cursor, directory, 0);
    append(&log, 1000);
    (void)signal(SIGXFSZ, SIG_IGN);
    limit_files(1500);
    append(&log, 2000); /* 500 of them fit */
    append(&log, 300);  /* the disk has its pause */
    limit_files(RLIM_INFINITY);
    assert_int_equal(log.next, 3300);
    assert_bounds(0, 3300);
    assert_int_equal(read_all(&cursor, 4096), 0);
    assert_int_equal(cursor.offset, 1500);
    log.retry_at_ms = 1; /* over */
    append(&log, 10);
    assert_int_equal(read_all(&cursor, 4096), 1800);
    assert_int_equal(cursor.offset, 3310);
    limit_files(0); /* the next segment gets no byte at all */
    log.segment_max = 1;
    append(&log, 50);
    limit_files(RLIM_INFINITY);
    assert_int_equal(count_segments(), 2);
    byte_log_close(&log);
    assert_int_equal(read_all(&cursor, 4096), 0);
    assert_int_equal(cursor.offset, 3310);
    assert_bounds(0, 3360); /* so the last 50 bytes are lost */
    byte_cursor_close(&cursor);
}

/* A runner that was killed leaves the position as it was at the beginning. */
static void test_a_dead_writer(void **state)
{
    (void)state;
    struct byte_log log = BYTE_LOG_NONE;
    struct byte_cursor cursor;
    assert_int_equal(byte_log_open(&log, directory, 64 * MIB), 0);
    append(&log, 5000);
    assert_int_equal(job_log_repair(directory), 0);
    assert_bounds(0, 5000);
    byte_cursor_open(&cursor, directory, 4000);
    assert_int_equal(read_all(&cursor, 4096), 0);
    assert_int_equal(cursor.offset, 5000);
    byte_cursor_close(&cursor);
    byte_log_close(&log);
}

static void test_size(void **state)
{
    (void)state;
    struct terminal_size size = {120, 40, 7};
    struct terminal_size found;
    assert_int_equal(terminal_size_read(directory, &found), -1);
    assert_int_equal(errno, ENOENT);
    cleanup_fd int fd = terminal_size_create(directory, &size);
    assert_int_equal(terminal_size_read(directory, &found), 0);
    assert_memory_equal(&found, &size, sizeof(size));
    size = (struct terminal_size){65535, 1, -1};
    assert_int_equal(terminal_size_update(fd, &size), 0);
    assert_int_equal(terminal_size_read(directory, &found), 0);
    assert_memory_equal(&found, &size, sizeof(size));
    size.rows = 65536;
    assert_int_equal(terminal_size_update(fd, &size), 0);
    assert_int_equal(terminal_size_read(directory, &found), -1);
    assert_int_equal(errno, EBADMSG);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_a_reader_beside_the_writer),
        EACH(test_rotation),
        EACH(test_a_full_disk),
        EACH(test_a_dead_writer),
        EACH(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

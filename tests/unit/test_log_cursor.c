/*
 * The cursor: whole events only, across segments that come and go.
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
#include <fcntl.h>
#include <unistd.h>

#include "common/io.h"
#include "fcgi-app/log_cursor.h"
#include "procd/job_files.h"

struct log {
    char path[64];
    int directory;
    uint64_t size; /* of the whole log */
    int segment;   /* being written */
};

static void start_segment(struct log *log)
{
    char name[32];
    (void)snprintf(name, sizeof(name), JOB_SEGMENT_FORMAT, (unsigned long long)log->size);
    if (log->segment >= 0) {
        assert_int_equal(close(log->segment), 0);
    }
    log->segment = openat(log->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(log->segment >= 0);
}

static void remove_segment(const struct log *log, uint64_t start)
{
    char name[32];
    (void)snprintf(name, sizeof(name), JOB_SEGMENT_FORMAT, (unsigned long long)start);
    assert_int_equal(unlinkat(log->directory, name, 0), 0);
}

static void append(struct log *log, const char *text, size_t length)
{
    assert_int_equal(io_write_all(log->segment, text, length), 0);
    log->size += length;
}

/* Renders the event that the log's end would get next. */
static size_t render(const struct log *log, char *event, size_t size, const char *data)
{
    return (size_t)snprintf(event, size, "id: %llu\nevent: log\ndata: {\"data\":\"%s\"}\n\n",
                            (unsigned long long)log->size, data);
}

/* Appends an event; its offset. */
static uint64_t append_event(struct log *log, const char *data)
{
    char event[512];
    uint64_t offset = log->size;
    append(log, event, render(log, event, sizeof(event), data));
    return offset;
}

static int set_up(void **state)
{
    static struct log log;
    log = (struct log){.segment = -1};
    (void)strcpy(log.path, "/tmp/test_log_cursor.XXXXXX");
    assert_non_null(mkdtemp(log.path));
    log.directory = open(log.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(log.directory >= 0);
    *state = &log;
    return 0;
}

static int tear_down(void **state)
{
    struct log *log = *state;
    DIR *directory = opendir(log->path);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        (void)unlinkat(log->directory, entry->d_name, 0);
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    (void)rmdir(log->path);
    (void)close(log->segment);
    (void)close(log->directory);
    return 0;
}

/* All that can be read now, in reads of at most `piece` bytes. */
static const char *read_all(struct log_cursor *cursor, size_t piece, uint64_t *missed)
{
    static char text[65536];
    size_t length = 0;
    uint64_t gap;
    ssize_t count;
    *missed = 0;
    while ((count = log_cursor_read(cursor, text + length, piece, &gap)) > 0) {
        length += (size_t)count;
        *missed += gap;
        assert_true(length + piece < sizeof(text));
    }
    assert_int_equal(count, 0);
    text[length] = '\0';
    return text;
}

/* Reads on and expects the `data` of events (in one row, each a single letter) and a gap. */
static void expect_gap(struct log_cursor *cursor, const char *letters, uint64_t gap)
{
    uint64_t missed;
    const char *at = read_all(cursor, 7, &missed);
    for (const char *letter = letters; *letter != '\0'; letter++) {
        char wanted[32];
        (void)snprintf(wanted, sizeof(wanted), "\"data\":\"%c\"}\n\n", *letter);
        at = strstr(at, wanted);
        assert_non_null(at);
        at += strlen(wanted);
    }
    assert_string_equal(at, "");
    assert_int_equal(missed, gap);
}

static void expect(struct log_cursor *cursor, const char *letters)
{
    expect_gap(cursor, letters, 0);
}

static void test_follows(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    expect(&cursor, ""); /* no segment yet */
    start_segment(log);
    expect(&cursor, "");
    append_event(log, "a");
    append_event(log, "b");
    expect(&cursor, "ab");
    start_segment(log);
    expect(&cursor, "");
    append_event(log, "c");
    start_segment(log);
    append_event(log, "d");
    expect(&cursor, "cd");
    append_event(log, "e");
    expect(&cursor, "e");
    expect(&cursor, "");
    log_cursor_clear(&cursor);
}

static void test_never_half_an_event(void **state)
{
    struct log *log = *state;
    char event[512];
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a");
    size_t length = render(log, event, sizeof(event), "b");
    for (size_t i = 0; i < length; i++) { /* byte by byte, its two last newlines too */
        expect(&cursor, i == 0 ? "a" : "");
        append(log, &event[i], 1);
    }
    expect(&cursor, "b");
    log_cursor_clear(&cursor);
}

static void test_whole_events_before_a_torn_one(void **state)
{
    struct log *log = *state;
    static char torn[100000];
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a");
    append_event(log, "b");
    memset(torn, 'x', sizeof(torn)); /* longer than any block that is searched at once */
    append(log, torn, sizeof(torn));
    expect(&cursor, "ab");
    append(log, torn, sizeof(torn));
    expect(&cursor, "");
    append(log, "\n", 1);
    expect(&cursor, "");
    uint64_t missed;
    char *text = malloc(300000);
    append(log, "\n", 1);
    append_event(log, "c");
    size_t sum = 0;
    ssize_t count;
    while ((count = log_cursor_read(&cursor, text, 300000, &missed)) > 0) {
        sum += (size_t)count;
    }
    assert_int_equal(count, 0);
    assert_int_equal(cursor.offset, log->size);
    assert_true(sum > 2 * sizeof(torn));
    free(text);
    log_cursor_clear(&cursor);
}

static void test_a_removed_segment_is_read_to_its_end(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a");
    expect(&cursor, "a");
    append_event(log, "b");
    start_segment(log);
    append_event(log, "c");
    remove_segment(log, 0);
    expect(&cursor, "bc");
    log_cursor_clear(&cursor);
}

static void test_a_gap_is_told(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a");
    expect(&cursor, "a");
    uint64_t second = log->size;
    start_segment(log);
    append_event(log, "b");
    uint64_t third = log->size;
    start_segment(log);
    append_event(log, "c");
    remove_segment(log, 0);
    remove_segment(log, second);
    expect_gap(&cursor, "c", third - second);
    append_event(log, "d");
    expect(&cursor, "d");
    log_cursor_clear(&cursor);
}

static void test_nothing_after_a_removed_segment(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a");
    expect(&cursor, "a");
    remove_segment(log, 0); /* a job that is forgotten */
    expect(&cursor, "");
    assert_int_equal(rmdir(log->path), 0);
    expect(&cursor, "");
    log_cursor_clear(&cursor);
}

static void expect_newest(struct log *log, uint64_t events, const char *letters)
{
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    assert_int_equal(log_cursor_seek_newest(&cursor, events), 0);
    expect(&cursor, letters);
    log_cursor_clear(&cursor);
}

static void test_newest(void **state)
{
    struct log *log = *state;
    expect_newest(log, 5, "");
    start_segment(log);
    expect_newest(log, 5, "");
    append_event(log, "a");
    append_event(log, "b");
    append_event(log, "c");
    start_segment(log);
    append_event(log, "d");
    append_event(log, "e");
    start_segment(log);
    expect_newest(log, 1, "e"); /* the last segment is empty */
    append_event(log, "f");
    append(log, "id: 1\n", 6); /* torn */
    const char *all = "abcdef";
    for (uint64_t events = 1; events <= 6; events++) {
        expect_newest(log, events, all + 6 - events);
    }
    expect_newest(log, 7, all);
    expect_newest(log, 10000, all);
}

static void test_newest_of_many(void **state)
{
    struct log *log = *state;
    enum { EVENTS = 3000 };
    static uint64_t offsets[EVENTS];
    for (int i = 0; i < EVENTS; i++) {
        if (i % 1300 == 0) {
            start_segment(log);
        }
        offsets[i] = append_event(log, "something to fill blocks with");
    }
    for (int newest = 1; newest <= EVENTS; newest += 37) {
        struct log_cursor cursor;
        log_cursor_init(&cursor, log->directory);
        assert_int_equal(log_cursor_seek_newest(&cursor, (uint64_t)newest), 0);
        assert_int_equal(cursor.offset, offsets[EVENTS - newest]);
        log_cursor_clear(&cursor);
    }
}

static void test_seek_after(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    assert_int_equal(log_cursor_seek_after(&cursor, 0), 1); /* no log at all */
    start_segment(log);
    uint64_t first = append_event(log, "a");
    uint64_t second = append_event(log, "b");
    start_segment(log);
    uint64_t third = append_event(log, "c");
    assert_int_equal(log_cursor_seek_after(&cursor, first), 0);
    expect(&cursor, "bc");
    assert_int_equal(log_cursor_seek_after(&cursor, second), 0);
    expect(&cursor, "c");
    assert_int_equal(log_cursor_seek_after(&cursor, third), 0);
    expect(&cursor, "");
    assert_int_equal(log_cursor_seek_after(&cursor, second + 1), 1); /* inside an event */
    assert_int_equal(log_cursor_seek_after(&cursor, log->size), 1);
    assert_int_equal(log_cursor_seek_after(&cursor, log->size + 1000), 1);
    append(log, "id: ", 4); /* torn: no event yet */
    assert_int_equal(log_cursor_seek_after(&cursor, log->size - 4), 1);
    remove_segment(log, 0);
    assert_int_equal(log_cursor_seek_after(&cursor, second), 0);
    expect_gap(&cursor, "c", third - second);
    log_cursor_clear(&cursor);
}

static void test_unread(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    uint64_t missed;
    char first[64];
    char again[64];
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a");
    append_event(log, "b");
    ssize_t count = log_cursor_read(&cursor, first, sizeof(first), &missed);
    assert_true(count > 20);
    log_cursor_unread(&cursor, (size_t)count - 20);
    assert_int_equal(log_cursor_read(&cursor, again, 10, &missed), 10);
    assert_memory_equal(again, first + 20, 10);
    log_cursor_unread(&cursor, 10);
    log_cursor_unread(&cursor, 20);
    expect(&cursor, "ab");
    log_cursor_clear(&cursor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_follows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_never_half_an_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_whole_events_before_a_torn_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_segment_is_read_to_its_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_gap_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_after_a_removed_segment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_newest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_newest_of_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_seek_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unread, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

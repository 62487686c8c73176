/*
 * The cursor: whole events only, across segments that come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
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
#include "fcgi-app/processes/log_cursor.h"
#include "procd/log/event_id.h"
#include "procd/log/job_files.h"

struct log {
    char path[64];
    int directory;
    uint64_t size;  /* of the whole log */
    uint64_t lines; /* the number of the next event */
    int segment;    /* being written */
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
    return (size_t)snprintf(event, size,
                            "event: log\ndata: {\"data\":\"%s\"}\nid: 550e8400-%llu-%llu\n\n", data,
                            (unsigned long long)log->size, (unsigned long long)log->lines);
}

/* Appends an event; its offset. */
static uint64_t append_event(struct log *log, const char *data)
{
    char event[512];
    uint64_t offset = log->size;
    append(log, event, render(log, event, sizeof(event), data));
    log->lines++;
    return offset;
}

/* As the runner does after a full disk: the numbers of the lost lines are not used again. */
static uint64_t append_gap(struct log *log, uint64_t missed)
{
    char event[128];
    uint64_t offset = log->size;
    append(log, event,
           (size_t)snprintf(event, sizeof(event), "event: gap\ndata: {\"missed_lines\":%llu}\n\n",
                            (unsigned long long)missed));
    log->lines += missed;
    return offset;
}

/* The id of the event at `offset`, number `line`. */
static struct event_id id_of(uint64_t offset, uint64_t line)
{
    char text[EVENT_ID_SIZE];
    struct event_id id;
    int length = snprintf(text, sizeof(text), "550e8400-%llu-%llu", (unsigned long long)offset,
                          (unsigned long long)line);
    assert_true(event_id_parse(text, (size_t)length, &id));
    return id;
}

static enum log_seek seek(struct log_cursor *cursor, uint64_t offset, uint64_t line)
{
    struct event_id id = id_of(offset, line);
    log_cursor_clear(cursor);
    log_cursor_init(cursor, cursor->directory);
    return log_cursor_seek_after(cursor, &id);
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

/* All that can be read now, in reads of at most `piece` bytes, and the only gap, if there is one.
 */
static const char *read_all(struct log_cursor *cursor, size_t piece, struct log_gap *missed)
{
    static char text[65536];
    size_t length = 0;
    struct log_gap gap;
    ssize_t count;
    *missed = (struct log_gap){0};
    while ((count = log_cursor_read(cursor, text + length, piece, &gap)) > 0) {
        length += (size_t)count;
        if (gap.bytes > 0) {
            assert_int_equal(missed->bytes, 0);
            *missed = gap;
        }
        assert_true(length + piece < sizeof(text));
    }
    assert_int_equal(count, 0);
    text[length] = '\0';
    return text;
}

/*
 * Reads on and expects the `data` of events (in one row, each a single letter, or # for a gap event
 * of the runner's). Returns the gap before them.
 */
static struct log_gap expect_after_gap(struct log_cursor *cursor, const char *letters)
{
    struct log_gap missed;
    const char *at = read_all(cursor, 7, &missed);
    for (const char *letter = letters; *letter != '\0'; letter++) {
        char wanted[32];
        (void)snprintf(wanted, sizeof(wanted), *letter == '#' ? "event: gap" : "\"data\":\"%c\"}\n",
                       *letter);
        at = strstr(at, wanted);
        assert_non_null(at);
        at = strstr(at, "\n\n");
        assert_non_null(at);
        at += 2;
    }
    assert_string_equal(at, "");
    return missed;
}

static void expect_gap(struct log_cursor *cursor, const char *letters, uint64_t bytes,
                       uint64_t lines, struct event_id next)
{
    struct log_gap gap = expect_after_gap(cursor, letters);
    assert_int_equal(gap.bytes, bytes);
    assert_true(gap.lines_known);
    assert_int_equal(gap.lines, lines);
    assert_string_equal(gap.next_id, next.text);
}

static void expect(struct log_cursor *cursor, const char *letters)
{
    assert_int_equal(expect_after_gap(cursor, letters).bytes, 0);
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
    struct log_gap missed;
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
    expect_gap(&cursor, "c", third - second, 1, id_of(third, 2));
    append_event(log, "d");
    expect(&cursor, "d");
    log_cursor_clear(&cursor);
}

/* Gap events of the runner tell of some lines already: those are not told a second time. */
static void test_a_gap_among_the_runners_gaps(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a"); /* 0 */
    append_gap(log, 3);
    append_gap(log, 4);
    expect(&cursor, "a##");
    uint64_t second = log->size;
    start_segment(log);
    append_event(log, "b"); /* 8 */
    append_gap(log, 10);
    append_event(log, "c"); /* 19 */
    uint64_t third = log->size;
    start_segment(log);
    append_gap(log, 100);
    append_gap(log, 200);
    uint64_t last = append_event(log, "d"); /* 320 */
    remove_segment(log, 0);
    remove_segment(log, second);
    expect_gap(&cursor, "##d", third - second, 12, id_of(last, 320));
    /* a client that comes again may not have had the gap events after its line */
    assert_int_equal(seek(&cursor, 0, 0), LOG_SEEK_DONE);
    expect_gap(&cursor, "##d", third, 19, id_of(last, 320));
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
    append(log, "event: log\ndata: {}\nid: 550e8400-1-6\n", 37); /* torn */
    const char *all = "abcdef";
    for (uint64_t events = 1; events <= 6; events++) {
        expect_newest(log, events, all + 6 - events);
    }
    expect_newest(log, 7, all);
    expect_newest(log, 10000, all);
    expect_newest(log, UINT64_MAX, all);
}

/* The newest none: what comes from now on, an event that is half there too. */
static void test_none_of_the_newest(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    char event[512];
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a");
    for (int segments = 1; segments <= 2; segments++) {
        size_t length = render(log, event, sizeof(event), "b");
        append(log, event, length / 2);
        assert_int_equal(log_cursor_seek_newest(&cursor, 0), 0);
        expect(&cursor, "");
        append(log, event + length / 2, length - length / 2);
        log->lines++;
        append_event(log, "c");
        expect(&cursor, "bc");
        start_segment(log);
    }
    assert_int_equal(log_cursor_seek_newest(&cursor, 0), 0);
    append_event(log, "d");
    expect(&cursor, "d");
    log_cursor_clear(&cursor);
}

/* Gap events are no lines. */
static void test_newest_lines_among_gaps(void **state)
{
    struct log *log = *state;
    start_segment(log);
    append_gap(log, 1);
    append_event(log, "a");
    append_gap(log, 2);
    append_gap(log, 3);
    append_event(log, "b");
    start_segment(log);
    append_gap(log, 4);
    append_event(log, "c");
    append_gap(log, 5);
    expect_newest(log, 0, "");
    expect_newest(log, 1, "c#");
    expect_newest(log, 2, "b#c#");
    expect_newest(log, 3, "a##b#c#");
    expect_newest(log, 4, "#a##b#c#");
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
    assert_int_equal(seek(&cursor, 0, 0), LOG_SEEK_AHEAD); /* no log at all */
    start_segment(log);
    assert_int_equal(seek(&cursor, 0, 0), LOG_SEEK_AHEAD);
    uint64_t first = append_event(log, "a");
    uint64_t second = append_event(log, "b");
    uint64_t gap = append_gap(log, 1);
    start_segment(log);
    uint64_t third = append_event(log, "c");
    assert_int_equal(seek(&cursor, first, 0), LOG_SEEK_DONE);
    expect(&cursor, "b#c");
    assert_int_equal(seek(&cursor, second, 1), LOG_SEEK_DONE);
    expect(&cursor, "#c");
    assert_int_equal(seek(&cursor, third, 3), LOG_SEEK_DONE);
    expect(&cursor, "");
    assert_int_equal(seek(&cursor, second + 1, 1), LOG_SEEK_UNKNOWN); /* inside an event */
    assert_int_equal(seek(&cursor, second, 0), LOG_SEEK_UNKNOWN);
    assert_int_equal(seek(&cursor, second, 10), LOG_SEEK_UNKNOWN);
    assert_int_equal(seek(&cursor, gap, 2), LOG_SEEK_UNKNOWN);
    assert_int_equal(seek(&cursor, log->size, 4), LOG_SEEK_AHEAD);
    assert_int_equal(seek(&cursor, log->size + 1000, 4), LOG_SEEK_AHEAD);
    assert_int_equal(seek(&cursor, UINT64_MAX, UINT64_MAX), LOG_SEEK_AHEAD);
    append(log, "event: log\nid", 13); /* torn: no event yet */
    assert_int_equal(seek(&cursor, log->size - 13, 4), LOG_SEEK_AHEAD);
    assert_int_equal(seek(&cursor, log->size - 1, 4), LOG_SEEK_AHEAD);
    log_cursor_clear(&cursor);
}

static void test_seek_after_a_removed_event(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    uint64_t first = append_event(log, "a");
    uint64_t second = append_event(log, "b");
    start_segment(log);
    uint64_t third = append_event(log, "c");
    remove_segment(log, 0);
    assert_int_equal(seek(&cursor, first, 0), LOG_SEEK_DONE);
    expect_gap(&cursor, "c", third - first, 1, id_of(third, 2));
    assert_int_equal(seek(&cursor, second, 1), LOG_SEEK_DONE);
    expect(&cursor, "c"); /* it is gone, but nothing is missing */
    assert_int_equal(seek(&cursor, second, 2), LOG_SEEK_UNKNOWN);
    assert_int_equal(seek(&cursor, second, 1000), LOG_SEEK_UNKNOWN);
    /* and what is removed between the seek and the read */
    assert_int_equal(seek(&cursor, first, 0), LOG_SEEK_DONE);
    start_segment(log);
    uint64_t fourth = append_event(log, "d");
    remove_segment(log, third);
    expect_gap(&cursor, "d", fourth - first, 2, id_of(fourth, 3));
    log_cursor_clear(&cursor);
}

/* A full disk takes an event back whose beginning was seen, and less comes in its place. */
static void test_a_torn_event_that_is_taken_back(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    char torn[500];
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    append_event(log, "a");
    memset(torn, 'x', sizeof(torn));
    append(log, torn, sizeof(torn));
    expect(&cursor, "a");
    log->size -= sizeof(torn);
    assert_int_equal(ftruncate(log->segment, (off_t)log->size), 0);
    assert_int_equal(lseek(log->segment, 0, SEEK_END), (off_t)log->size);
    append_gap(log, 1);
    append_event(log, "b");
    expect(&cursor, "#b");
    log_cursor_clear(&cursor);
}

/* Files that a command has made, next to the segments and instead of them. */
static void test_what_is_no_segment(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    static const char *const names[] = {"log.",
                                        "log.5",
                                        "log.-1",
                                        "log. 0000000000000000005",
                                        "log.00000000000000000005x",
                                        "log.18446744073709551615",
                                        "log.09223372036854775807"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int fd = openat(log->directory, names[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0 && write(fd, "x\n\n", 3) == 3 && close(fd) == 0);
    }
    log_cursor_init(&cursor, log->directory);
    expect(&cursor, "");
    start_segment(log);
    append_event(log, "a");
    expect(&cursor, "a");
    assert_int_equal(log_cursor_seek_newest(&cursor, 5), 0);
    expect(&cursor, "a");
    log_cursor_clear(&cursor);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(unlinkat(log->directory, names[i], 0), 0);
    }
}

/* Numbers that go back, which no runner writes, make no number of lines. */
static void test_a_gap_between_damaged_ids(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    char data[1000];
    struct log_gap missed;
    log_cursor_init(&cursor, log->directory);
    start_segment(log);
    log->lines = 50;
    append_event(log, "a");
    expect(&cursor, "a");
    remove_segment(log, 0);
    log->size += 1000;
    log->lines = 7;
    start_segment(log);
    append_event(log, "b");
    assert_true(log_cursor_read(&cursor, data, sizeof(data), &missed) > 0);
    assert_int_equal(missed.bytes, 1000);
    assert_false(missed.lines_known);
    assert_int_equal(missed.lines, 0);
    log_cursor_clear(&cursor);
}

static void test_unread(void **state)
{
    struct log *log = *state;
    struct log_cursor cursor;
    struct log_gap missed;
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
#define IN_LOG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        IN_LOG(test_follows),
        IN_LOG(test_never_half_an_event),
        IN_LOG(test_whole_events_before_a_torn_one),
        IN_LOG(test_a_removed_segment_is_read_to_its_end),
        IN_LOG(test_a_gap_is_told),
        IN_LOG(test_a_gap_among_the_runners_gaps),
        IN_LOG(test_nothing_after_a_removed_segment),
        IN_LOG(test_newest),
        IN_LOG(test_newest_of_many),
        IN_LOG(test_none_of_the_newest),
        IN_LOG(test_newest_lines_among_gaps),
        IN_LOG(test_seek_after),
        IN_LOG(test_seek_after_a_removed_event),
        IN_LOG(test_a_torn_event_that_is_taken_back),
        IN_LOG(test_what_is_no_segment),
        IN_LOG(test_a_gap_between_damaged_ids),
        IN_LOG(test_unread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The log of a background job on the disk: form, rotation, long lines, a disk that takes no more,
 * and what a dead runner leaves.
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
#include "common/io.h"
#include "common/spool.h"
#include "procd/log/job_files.h"
#include "procd/log/job_log.h"
#include "procd/log/log_repair.h"
#include "procd/runner/job_stream.h"

#define MIB    ((uint64_t)1 << 20)
#define JOB_ID "550e8400-e29b-41d4-a716-446655440000"

static char path[64];
static int directory = -1;

static int make_directory(void **state)
{
    (void)state;
    strcpy(path, "/tmp/test-job-log.XXXXXX");
    directory = mkdtemp(path) == NULL ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory < 0 ? -1 : 0;
}

static int is_entry(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int is_segment(const struct dirent *entry)
{
    return strncmp(entry->d_name, JOB_SEGMENT_PREFIX, strlen(JOB_SEGMENT_PREFIX)) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int remove_directory(void **state)
{
    (void)state;
    struct dirent **entries;
    int count = scandirat(directory, ".", &entries, is_entry, by_name);
    for (int i = 0; i < count; i++) {
        unlinkat(directory, entries[i]->d_name, 0);
        free(entries[i]);
    }
    free(entries);
    close_fd(&directory);
    return rmdir(path);
}

struct disk {
    char *text;
    size_t length;
    uint64_t first; /* offset of the oldest segment */
    int segments;
};

/* Everything on the disk; asserts that segments follow each other without a hole. */
static struct disk read_disk(void)
{
    struct disk disk = {.text = strdup("")};
    struct dirent **entries;
    disk.segments = scandirat(directory, ".", &entries, is_segment, by_name);
    assert_true(disk.segments > 0);
    for (int i = 0; i < disk.segments; i++) {
        unsigned long long start;
        struct stat status;
        assert_int_equal(sscanf(entries[i]->d_name, "log.%20llu", &start), 1);
        assert_int_equal(strlen(entries[i]->d_name), 24);
        if (i == 0) {
            disk.first = start;
        }
        assert_true(start == disk.first + disk.length);
        int fd = openat(directory, entries[i]->d_name, O_RDONLY);
        assert_int_equal(fstat(fd, &status), 0);
        disk.text = realloc(disk.text, disk.length + (size_t)status.st_size + 1);
        assert_int_equal(read(fd, disk.text + disk.length, (size_t)status.st_size), status.st_size);
        disk.length += (size_t)status.st_size;
        disk.text[disk.length] = '\0';
        close(fd);
        free(entries[i]);
    }
    free(entries);
    return disk;
}

/* By hand: a sanitizer's strstr looks at the whole text each time. */
static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    size_t length = strlen(part);
    for (const char *at = text; *at != '\0'; at++) {
        count += *at == part[0] && strncmp(at, part, length) == 0;
    }
    return count;
}

static void assert_position(struct job_position expected)
{
    struct job_position position;
    assert_int_equal(job_position_read(directory, &position), 0);
    assert_int_equal(position.first_offset, expected.first_offset);
    assert_int_equal(position.first_line, expected.first_line);
    assert_int_equal(position.next_offset, expected.next_offset);
    assert_int_equal(position.next_line, expected.next_line);
    assert_int_equal(position.lines_dropped, expected.lines_dropped);
}

/*
 * Asserts that the disk holds whole events only, each named by its offset and its number, numbers
 * in a row but for gap events, and that the position file says the same. Returns what it says.
 */
static struct job_position assert_whole_events(const struct disk *disk)
{
    const char *at = disk->text;
    uint64_t lines = 0;
    struct job_position position = {.next_offset = disk->first + disk->length};
    bool first = true;
    while (*at != '\0') {
        const char *end = memmem(at, disk->length - (size_t)(at - disk->text), "\n\n", 2);
        assert_non_null(end);
        struct event head = event_parse(at, (size_t)(end + 2 - at));
        if (head.kind == EVENT_LINE) {
            static const char begin[] = "event: log\ndata: {\"timestamp\":\"";
            assert_memory_equal(at, begin, sizeof(begin) - 1);
            assert_memory_equal(end - strlen(head.id.text), head.id.text, strlen(head.id.text));
            assert_true(event_id_is_of(&head.id, JOB_ID));
            assert_true(head.id.offset == disk->first + (uint64_t)(at - disk->text));
            if (first) {
                position.first_offset = head.id.offset;
                position.first_line = head.id.line;
                first = false;
            } else {
                assert_int_equal(head.id.line, position.next_line);
            }
            position.next_line = head.id.line + 1;
            lines++;
        } else {
            assert_int_equal(head.kind, EVENT_GAP);
            position.next_line += head.missed;
        }
        at = end + 2;
    }
    if (first) {
        position.first_offset = position.next_offset;
        position.first_line = position.next_line;
    }
    position.lines_dropped = position.next_line - lines;
    return position;
}

static void put_line(struct job_log *log, const char *text, size_t length)
{
    const struct line line = {.tail = text, .tail_length = length};
    job_log_line(log, "stdout", &line);
}

static void renders_events(void **state)
{
    (void)state;
    struct job_log log;
    unsigned year;
    unsigned long long first;
    unsigned long long second;
    assert_int_equal(job_log_open(&log, directory, JOB_ID, MIB), 0);
    put_line(&log, "a \"quoted\" \xff line", 17);
    const struct line empty = {.tail = ""};
    job_log_line(&log, "stderr", &empty);
    job_log_flush(&log);
    struct disk disk = read_disk();
    assert_whole_events(&disk);
    char form[400];
    const char *timestamp = strstr(disk.text, "timestamp\":\"") + 12;
    assert_int_equal(sscanf(timestamp, "%4u-%*2u-%*2uT%*2u:%*2u:%*2u.%9lluZ\"", &year, &first), 2);
    assert_true(year >= 2024);
    snprintf(form, sizeof(form),
             "event: log\ndata: {\"timestamp\":\"%.30s\",\"stream\":\"stdout\","
             "\"data\":\"a \\\"quoted\\\" \xef\xbf\xbd line\"}\nid: 550e8400-0-0\n\n",
             timestamp);
    assert_memory_equal(disk.text, form, strlen(form));
    assert_non_null(strstr(disk.text, "\"stream\":\"stderr\",\"data\":\"\"}\nid: 550e8400-"));
    timestamp = strstr(timestamp, "timestamp\":\"") + 12;
    assert_int_equal(sscanf(timestamp, "%*u-%*u-%*uT%*u:%*u:%*u.%9lluZ\"", &second), 1);
    assert_true(second != first); /* strictly later, were it not for the turn of a second */
    free(disk.text);
    job_log_close(&log);
}

static void keeps_the_newest(void **state)
{
    (void)state;
    struct job_log log;
    char text[100];
    assert_int_equal(job_log_open(&log, directory, JOB_ID, MIB), 0);
    for (int i = 0; i < 50000; i++) {
        int length = snprintf(text, sizeof(text), "line %d", i);
        put_line(&log, text, (size_t)length);
        if (i % 1000 == 0) {
            job_log_flush(&log);
        }
    }
    job_log_close(&log);
    struct disk disk = read_disk();
    assert_true(disk.length <= MIB);
    assert_true(disk.length > MIB * 3 / 4);
    assert_true(disk.segments > 8);
    struct job_position position = assert_whole_events(&disk);
    assert_int_equal(position.next_line, 50000);
    assert_int_equal(position.lines_dropped, position.first_line);
    snprintf(text, sizeof(text),
             "\"data\":\"line %llu\"}\nid: ", (unsigned long long)position.first_line);
    assert_non_null(memmem(disk.text, 300, text, strlen(text)));
    assert_position(position);
    assert_non_null(strstr(disk.text, "\"data\":\"line 49999\"}\nid: "));
    free(disk.text);
}

static void tells_its_position_at_every_flush(void **state)
{
    (void)state;
    struct job_log log;
    char text[3000];
    memset(text, 't', sizeof(text));
    assert_int_equal(job_log_open(&log, directory, JOB_ID, MIB), 0);
    assert_position((struct job_position){0});
    for (size_t i = 0; i < 1000; i++) {
        put_line(&log, text, (i * 7) % sizeof(text));
        job_log_flush(&log);
        if (i % 50 == 0 || i > 980) {
            struct disk disk = read_disk();
            assert_position(assert_whole_events(&disk));
            free(disk.text);
        }
    }
    struct job_position position;
    assert_int_equal(job_position_read(directory, &position), 0);
    assert_true(position.first_line > 100 && position.next_line == 1000);
    job_log_close(&log);
    assert_position(position);
}

/* The data of all pieces of a line together, which are all but the last marked. */
static void assert_pieces(const struct disk *disk, const char *stream, char fill, size_t length,
                          size_t pieces)
{
    char mark[60];
    snprintf(mark, sizeof(mark), "\"stream\":\"%s\",\"data\":\"", stream);
    size_t found = 0;
    size_t total = 0;
    for (const char *at = disk->text; (at = strstr(at, mark)) != NULL; found++) {
        const char fills[] = {fill, '\0'};
        at += strlen(mark);
        size_t run = strspn(at, fills);
        total += run;
        const char *end = total < length ? "\",\"continued\":true}\nid: " : "\"}\nid: ";
        assert_memory_equal(at + run, end, strlen(end));
    }
    assert_int_equal(total, length);
    assert_int_equal(found, pieces);
}

static void splits_a_line_above_the_limit(void **state)
{
    (void)state;
    struct job_log log;
    char *text = malloc(MIB);
    memset(text, 'y', MIB);
    assert_int_equal(job_log_open(&log, directory, JOB_ID, 8 * MIB), 0);
    cleanup_(spool_freep) struct spool *held = spool_new(directory, 1000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(spool_write(held, text, MIB), 0);
    }
    const struct line line = {
        .held = held, .held_length = 4 * MIB, .tail = text, .tail_length = 100};
    job_log_line(&log, "stderr", &line);
    put_line(&log, "next", 4);
    job_log_close(&log);
    struct disk disk = read_disk();
    assert_whole_events(&disk);
    assert_pieces(&disk, "stderr", 'y', 4 * MIB + 100, 3);
    free(disk.text);
    free(text);
}

static void keeps_characters_whole_in_long_lines(void **state)
{
    (void)state;
    struct job_log log;
    enum { COUNT = 20000 };
    static const char euro[] = {'\xe2', '\x82', '\xac'};
    char *text = malloc(COUNT * 3 + 1);
    for (int i = 0; i < COUNT; i++) {
        memcpy(text + (size_t)i * 3 + 1, euro, sizeof(euro));
    }
    text[0] = 'x';
    assert_int_equal(job_log_open(&log, directory, JOB_ID, MIB), 0);
    put_line(&log, text, COUNT * 3 + 1);
    job_log_close(&log);
    struct disk disk = read_disk();
    assert_int_equal(count_of(disk.text, "\xe2\x82\xac"), COUNT);
    assert_null(strstr(disk.text, "\xef\xbf\xbd"));
    free(disk.text);
    free(text);
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A file that may not grow stands for a disk that is full: both stop a write in its middle. */
static void drops_lines_and_says_so(void **state)
{
    (void)state;
    struct job_log log;
    char text[100];
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(job_log_open(&log, directory, JOB_ID, 64 * MIB), 0);
    set_file_limit(100000);
    for (int i = 0; i < 2000; i++) {
        int length = snprintf(text, sizeof(text), "line %d", i);
        put_line(&log, text, (size_t)length);
    }
    job_log_flush(&log);
    struct disk full = read_disk();
    assert_true(full.length <= 100000 && full.length > 99000); /* as many whole ones as fit */
    size_t written = count_of(full.text, "event: log");
    struct job_position position = assert_whole_events(&full);
    assert_int_equal(position.next_line, written);
    position.next_line = 2000;
    position.lines_dropped = 2000 - written;
    assert_position(position);
    put_line(&log, "too soon", 8);
    set_file_limit(RLIM_INFINITY);
    while (log.dropped > 0) {
        put_line(&log, "again", 5); /* dropped until it tries again */
    }
    put_line(&log, "after", 5);
    job_log_close(&log);
    struct disk disk = read_disk();
    position = assert_whole_events(&disk);
    assert_position(position);
    assert_memory_equal(disk.text, full.text, full.length);
    unsigned long long missed;
    assert_int_equal(
        sscanf(disk.text + full.length, "event: gap\ndata: {\"missed_lines\":%llu}\n\n", &missed),
        1);
    size_t again = count_of(disk.text, "\"again\"");
    assert_int_equal(count_of(disk.text, "event: gap"), 1);
    assert_int_equal(again, 1);
    assert_true(missed >= 2000 - written + 1);
    assert_int_equal(missed, position.lines_dropped);
    assert_non_null(strstr(disk.text, "\"data\":\"after\"}\nid: "));
    free(disk.text);
    free(full.text);
}

static void drops_a_long_line_that_does_not_fit(void **state)
{
    (void)state;
    struct job_log log;
    char *text = malloc(MIB);
    memset(text, 'z', MIB);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(job_log_open(&log, directory, JOB_ID, 64 * MIB), 0);
    put_line(&log, "before", 6);
    job_log_flush(&log);
    set_file_limit(600000);
    put_line(&log, text, MIB);
    job_log_flush(&log);
    set_file_limit(RLIM_INFINITY);
    struct disk disk = read_disk();
    assert_int_equal(count_of(disk.text, "\n\n"), 1); /* the torn event is taken back */
    assert_whole_events(&disk);
    assert_true(log.dropped == 1);
    free(disk.text);
    job_log_close(&log);
    disk = read_disk();
    assert_int_equal(count_of(disk.text, "{\"missed_lines\":1}"), 1);
    assert_position(assert_whole_events(&disk));
    free(disk.text);
    free(text);
}

/* The event's beginning is on the disk already, and its end comes to a disk that is full. */
static void counts_a_line_that_is_torn_between_two_writes(void **state)
{
    (void)state;
    struct job_log log;
    char *text = malloc(MIB);
    memset(text, 'z', MIB);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(job_log_open(&log, directory, JOB_ID, 64 * MIB), 0);
    put_line(&log, text, 300000); /* in two buffers */
    struct stat status;
    assert_int_equal(fstat(log.segment, &status), 0);
    assert_in_range(status.st_size, 100000, 170000);
    set_file_limit(170000);
    put_line(&log, "lost", 4);
    job_log_flush(&log);
    set_file_limit(RLIM_INFINITY);
    assert_int_equal(log.dropped, 2);
    job_log_close(&log);
    struct disk disk = read_disk();
    assert_string_equal(disk.text, "event: gap\ndata: {\"missed_lines\":2}\n\n");
    struct job_position position = {disk.length, 2, disk.length, 2, 2};
    assert_position(position);
    free(disk.text);
    free(text);
}

/* A segment that begins with lost lines and their gap event: its oldest line comes after them. */
static void a_segment_may_begin_with_a_gap(void **state)
{
    (void)state;
    struct job_log log;
    char text[1000];
    memset(text, 's', sizeof(text));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(job_log_open(&log, directory, JOB_ID, MIB), 0);
    while (log.segment_count < 2) {
        put_line(&log, text, sizeof(text));
        job_log_flush(&log);
    }
    uint64_t start = log.segments[1].start;
    job_log_drop(&log);
    job_log_drop(&log);
    while (log.segment_count < 3 || log.segments[0].start < start) {
        put_line(&log, text, sizeof(text));
        job_log_flush(&log);
    }
    struct disk disk = read_disk();
    assert_int_equal(disk.first, start);
    struct job_position position = assert_whole_events(&disk);
    assert_position(position);
    job_log_close(&log);
    assert_position(position);
    free(disk.text);
}

static void write_file(const char *name, const char *text)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void repairs_a_torn_tail(void **state)
{
    (void)state;
    static const char *const torn[] = {"data: a\nid: 1\n\n",
                                       "data: a\nid: 1\n\ndata: b\nid: 2\n",
                                       "data: a\nid: 1\n\ndata: b\ni",
                                       "data: a\nid: 1\n\n\n",
                                       "",
                                       "id",
                                       "\n"};
    static const size_t kept[] = {15, 15, 15, 16, 0, 0, 0};
    assert_int_equal(job_log_repair(directory), 0); /* nothing there */
    for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
        struct stat status;
        write_file("log.00000000000000000000", "older\n\nuntouched");
        write_file("log.00000000000000000200", torn[i]);
        assert_int_equal(job_log_repair(directory), 0);
        assert_int_equal(fstatat(directory, "log.00000000000000000200", &status, 0), 0);
        assert_int_equal(status.st_size, kept[i]);
        assert_int_equal(fstatat(directory, "log.00000000000000000000", &status, 0), 0);
        assert_int_equal(status.st_size, 16);
    }
}

static uint64_t file_size(const char *name)
{
    struct stat status;
    assert_int_equal(fstatat(directory, name, &status, 0), 0);
    return (uint64_t)status.st_size;
}

/* Whatever the position file lacks, and even if it is missing, the ids give the rest. */
static void repair_finds_the_position(void **state)
{
    (void)state;
    struct job_log log;
    struct job_position early;
    char text[500];
    memset(text, 'p', sizeof(text));
    assert_int_equal(job_log_open(&log, directory, JOB_ID, MIB), 0);
    job_log_drop(&log);
    for (int i = 0; i < 5000; i++) {
        put_line(&log, text, sizeof(text));
        if (i == 4990) {
            job_log_flush(&log);
            assert_int_equal(job_position_read(directory, &early), 0);
        }
    }
    job_log_close(&log);
    struct disk disk = read_disk();
    struct job_position position = assert_whole_events(&disk);
    free(disk.text);
    assert_position(position);
    assert_int_equal(job_log_repair(directory), 0);
    assert_position(position);
    int fd = job_position_create(directory, &early);
    assert_true(fd >= 0);
    assert_int_equal(job_log_repair(directory), 0);
    assert_position(position);
    early.next_line = position.next_line + 3; /* lost, and only the file knows */
    early.lines_dropped += 3;
    assert_int_equal(job_position_update(fd, &early), 0);
    close(fd);
    assert_int_equal(job_log_repair(directory), 0);
    early = position;
    early.next_line += 3;
    early.lines_dropped += 3;
    assert_position(early);
    assert_int_equal(unlinkat(directory, JOB_POSITION_FILE, 0), 0);
    assert_int_equal(job_log_repair(directory), 0);
    assert_position(position);
    write_file(JOB_POSITION_FILE, "nonsense");
    assert_int_equal(job_log_repair(directory), 0);
    assert_position(position);
}

static void repair_of_special_logs(void **state)
{
    (void)state;
    static const char gap[] = "event: gap\ndata: {\"missed_lines\":5}\n\n";
    /* nothing but gap events at both ends, and an empty segment */
    write_file("log.00000000000000000100", gap);
    char text[200];
    snprintf(text, sizeof(text), "%sevent: log\ndata: {}\nid: 550e8400-%zu-17\n\n%s", gap,
             129 + strlen(gap), gap);
    write_file("log.00000000000000000129", text);
    write_file("log.00000000000000001000", "");
    assert_int_equal(job_log_repair(directory), 0);
    assert_position((struct job_position){129 + strlen(gap), 17, 1000, 18, 17});
    /* no line at all */
    assert_int_equal(unlinkat(directory, "log.00000000000000000129", 0), 0);
    assert_int_equal(unlinkat(directory, JOB_POSITION_FILE, 0), 0);
    assert_int_equal(job_log_repair(directory), 0);
    assert_position((struct job_position){1000, 0, 1000, 0, 0});
}

/* A command of the same user can write what it likes: the log then counts as one without lines, and
 * its position can be read. */
static void repair_of_damaged_logs(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "event: log\ndata: {}\nid: 550e8400-0-18446744073709551615\n\n",
        "event: log\ndata: {}\nid: 550e8400-0-7\n\nevent: log\ndata: {}\nid: 550e8400-1-2\n\n",
        "event: log\ndata: {}\nid: 550e8400-1000-0\n\n",
        "event: log\ndata: {}\nid: 0\n\nevent: log\ndata: {}\nid: 550e8400-27-1\n\n",
        "id: 550e8400-0-7\nevent: log\ndata: {}\n\nevent: log\ndata: {}\nid: 550e8400-1-2\n\n",
        "x\n\nevent: log\ndata: {}\nid: 550e8400-3-1\n\n"};
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        uint64_t end = strlen(damaged[i]);
        write_file("log.00000000000000000000", damaged[i]);
        write_file("log.-7", "the file of another");
        write_file("log.12", "this, too");
        write_file("log.18446744073709551615", "and this");
        write_file("log.09223372036854775807", "and this");
        (void)unlinkat(directory, JOB_POSITION_FILE, 0);
        assert_int_equal(job_log_repair(directory), 0);
        assert_position((struct job_position){end, 0, end, 0, 0});
    }
}

/* Longer than the file ever is: all of it is replaced. */
static void repair_of_a_damaged_position_file(void **state)
{
    (void)state;
    static const char event[] = "event: log\ndata: {}\nid: 550e8400-0-0\n\n";
    char text[1000] = "";
    memset(text, 'x', sizeof(text) - 1);
    write_file("log.00000000000000000000", event);
    write_file(JOB_POSITION_FILE, text);
    assert_int_equal(job_log_repair(directory), 0);
    assert_position((struct job_position){0, 0, strlen(event), 1, 0});
}

static void a_position_file_is_whole_or_refused(void **state)
{
    (void)state;
    struct job_position position = {0};
    struct job_position wrong = {.first_line = 3, .next_line = 2, .lines_dropped = 3};
    char bytes[256];
    assert_int_equal(job_position_read(directory, &position), -1);
    assert_int_equal(errno, ENOENT);
    int fd = job_position_create(directory, &(struct job_position){1, 2, 3, 4, 2});
    assert_true(fd >= 0);
    assert_position((struct job_position){1, 2, 3, 4, 2});
    uint64_t size = file_size(JOB_POSITION_FILE);
    assert_int_equal(job_position_update(fd, &(struct job_position){10, 20, 30, 40, 25}), 0);
    assert_position((struct job_position){10, 20, 30, 40, 25});
    assert_int_equal(file_size(JOB_POSITION_FILE), size);
    assert_int_equal(job_position_update(fd, &wrong), 0);
    assert_int_equal(job_position_read(directory, &position), -1);
    assert_int_equal(errno, EBADMSG);
    assert_int_equal(job_position_update(fd, &(struct job_position){1, 2, 3, 4, 2}), 0);
    close(fd);
    fd = openat(directory, JOB_POSITION_FILE, O_RDWR | O_CLOEXEC);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), (ssize_t)size);
    for (uint64_t length = 0; length < size; length++) { /* cut anywhere */
        assert_int_equal(ftruncate(fd, (off_t)length), 0);
        assert_int_equal(job_position_read(directory, &position), -1);
        assert_int_equal(errno, EBADMSG);
        assert_int_equal(pwrite(fd, bytes, size, 0), (ssize_t)size);
    }
    for (size_t i = 0; i < sizeof(bytes); i++) { /* too long */
        bytes[i] = 1;
    }
    assert_int_equal(pwrite(fd, bytes, sizeof(bytes), (off_t)size), (ssize_t)sizeof(bytes));
    assert_int_equal(job_position_read(directory, &position), -1);
    close(fd);
}

static int writer;

static void open_stream(struct job_stream *stream, struct job_log *log, uint64_t max_bytes)
{
    int ends[2];
    assert_int_equal(job_log_open(log, directory, JOB_ID, max_bytes), 0);
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    writer = ends[1];
    job_stream_open(stream, ends[0], "stdout", log, directory);
}

/* Feeds the stream what the pipe holds. False at the end of the pipe. */
static bool read_pipe(struct job_stream *stream)
{
    static char buffer[65536];
    ssize_t length;
    while ((length = io_read_some(stream->fd, buffer, sizeof(buffer))) > 0) {
        job_stream_feed(stream, buffer, (size_t)length);
    }
    return length != 0;
}

/* Writes to the pipe as much as it takes at a time, and has the stream read it. */
static void pass(struct job_stream *stream, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(writer, text, length < 65536 ? length : 65536);
        assert_true(written > 0);
        text += written;
        length -= (size_t)written;
        (void)read_pipe(stream);
    }
}

static void end_stream(struct job_stream *stream, struct job_log *log)
{
    close(writer);
    assert_false(read_pipe(stream));
    close(stream->fd);
    job_stream_end(stream);
    job_log_close(log);
}

static void a_line_without_end_is_passed_on_in_pieces(void **state)
{
    (void)state;
    struct job_log log;
    struct job_stream stream;
    char *text = malloc(65536);
    memset(text, 'q', 65536);
    open_stream(&stream, &log, 4 * MIB);
    for (int i = 0; i < 40; i++) { /* 2.5 MiB, where 1 MiB is the limit */
        pass(&stream, text, 65536);
        assert_true(line_reader_pending(&stream.reader) <= log.event_max + 65536);
    }
    pass(&stream, "\nshort\r\r\n", 9);
    end_stream(&stream, &log);
    struct disk disk = read_disk();
    assert_whole_events(&disk);
    assert_non_null(strstr(disk.text, "\"data\":\"short\"}\nid: 550e8400-"));
    size_t pieces = count_of(disk.text, "\"data\"") - 1; /* less the short one */
    assert_true(pieces >= 3);
    assert_int_equal(count_of(disk.text, "continued"), pieces - 1);
    size_t total = 0;
    for (const char *at = disk.text; (at = strstr(at, "\"data\":\"")) != NULL;) {
        at += 8;
        total += strspn(at, "q");
    }
    assert_int_equal(total, 40 * 65536);
    free(disk.text);
    free(text);
}

static void a_split_keeps_characters_and_returns(void **state)
{
    (void)state;
    struct job_log log;
    struct job_stream stream;
    /* Somewhere in there the limit is passed, each time at another place in the pattern. */
    static const char pattern[] = "\xf0\x9f\x98\x80\r\xc3\xa4";
    const size_t size = sizeof(pattern) - 1;
    open_stream(&stream, &log, 4 * MIB);
    size_t count = 0;
    for (size_t chunk = 61000; count < 400000; chunk--) {
        for (size_t i = 0; i < chunk / size; i++, count++) {
            assert_int_equal(write(writer, pattern, size), (ssize_t)size);
        }
        (void)read_pipe(&stream);
    }
    pass(&stream, "\r\r\n", 3);
    end_stream(&stream, &log);
    struct disk disk = read_disk();
    assert_whole_events(&disk);
    assert_true(count_of(disk.text, "continued") >= 2);
    assert_int_equal(count_of(disk.text, "\xf0\x9f\x98\x80"), count);
    assert_int_equal(count_of(disk.text, "\xc3\xa4"), count);
    assert_int_equal(count_of(disk.text, "\\r"), count); /* those at the end are cut */
    assert_null(strstr(disk.text, "\xef\xbf\xbd"));
    free(disk.text);
}

int main(void)
{
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(renders_events),
        IN_DIRECTORY(keeps_the_newest),
        IN_DIRECTORY(tells_its_position_at_every_flush),
        IN_DIRECTORY(splits_a_line_above_the_limit),
        IN_DIRECTORY(keeps_characters_whole_in_long_lines),
        IN_DIRECTORY(drops_lines_and_says_so),
        IN_DIRECTORY(drops_a_long_line_that_does_not_fit),
        IN_DIRECTORY(counts_a_line_that_is_torn_between_two_writes),
        IN_DIRECTORY(a_segment_may_begin_with_a_gap),
        IN_DIRECTORY(repairs_a_torn_tail),
        IN_DIRECTORY(repair_finds_the_position),
        IN_DIRECTORY(repair_of_special_logs),
        IN_DIRECTORY(repair_of_damaged_logs),
        IN_DIRECTORY(repair_of_a_damaged_position_file),
        IN_DIRECTORY(a_position_file_is_whole_or_refused),
        IN_DIRECTORY(a_line_without_end_is_passed_on_in_pieces),
        IN_DIRECTORY(a_split_keeps_characters_and_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

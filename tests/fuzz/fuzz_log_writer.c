/*
 * What a job prints, into its log and out again: the runner's writer, a cursor that follows it, and
 * the repair of a log whose end is torn. Each line comes out as the text that stands for its bytes,
 * in events that are numbered without a gap; the position file agrees.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "common/cleanup.h"
#include "common/line_reader.h"
#include "fcgi-app/processes/log_cursor.h"
#include "procd/log/event_id.h"
#include "procd/log/job_files.h"
#include "procd/log/job_log.h"
#include "procd/log/job_segment.h"
#include "procd/log/log_repair.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/text.h"

#define JOB_ID  "550e8400-e29b-41d4-a716-446655440000"
#define LOG_MAX ((uint64_t)32768) /* so that segments and events are small */

struct text {
    char *data;
    size_t length;
};

static void append(struct text *text, const char *data, size_t length)
{
    text->data = realloc(text->data, text->length + length + 1);
    assert(text->data != NULL);
    memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = '\0';
}

struct follower {
    struct log_cursor cursor;
    struct text unread; /* events that have not been looked at */
    struct text line;   /* the data of events so far, of which the last is to be continued */
    struct text lines;  /* all data, each line with its \n */
    uint64_t events;
    uint64_t offset;
};

/* ---- reading ---- */

/* The event with its empty line: event, data and id. */
static void check_event(struct follower *follower, const char *event, size_t length)
{
    static const char kind[] = "event: log\ndata: ";
    static const char id[] = "\nid: ";
    struct event parsed = event_parse(event, length);
    assert(parsed.kind == EVENT_LINE && event_id_is_of(&parsed.id, JOB_ID));
    assert(parsed.id.offset == follower->offset && parsed.id.line == follower->events);
    assert(length > sizeof(kind) && memcmp(event, kind, sizeof(kind) - 1) == 0);
    const char *data = event + sizeof(kind) - 1;
    const char *end = memmem(data, length - (size_t)(data - event), id, sizeof(id) - 1);
    assert(end != NULL && end + sizeof(id) - 1 + strlen(parsed.id.text) + 2 == event + length);
    assert_no_separator(data, (size_t)(end - data));
    json_t *object = json_loadb(data, (size_t)(end - data), JSON_ALLOW_NUL, NULL);
    json_t *string = json_object_get(object, "data");
    assert(strcmp(json_string_value(json_object_get(object, "stream")), "stdout") == 0);
    assert(json_is_string(string));
    append(&follower->line, json_string_value(string), json_string_length(string));
    if (!json_is_true(json_object_get(object, "continued"))) {
        append(&follower->lines, follower->line.data, follower->line.length);
        append(&follower->lines, "\n", 1);
        follower->line.length = 0;
    }
    json_decref(object);
    follower->events++;
    follower->offset += length;
}

/* Takes all there is: whole events. */
static void follow(struct follower *follower)
{
    char piece[1000];
    struct log_gap gap;
    ssize_t count;
    while ((count = log_cursor_read(&follower->cursor, piece, sizeof(piece), &gap)) > 0) {
        assert(gap.bytes == 0);
        append(&follower->unread, piece, (size_t)count);
    }
    assert(count == 0);
    const char *at = follower->unread.data;
    const char *end = at == NULL ? NULL : at + follower->unread.length;
    while (at != end) {
        const char *stop = memmem(at, (size_t)(end - at), "\n\n", 2);
        assert(stop != NULL);
        check_event(follower, at, (size_t)(stop - at) + 2);
        at = stop + 2;
    }
    follower->unread.length = 0;
}

static void check_position(int directory, const struct follower *follower)
{
    struct job_position position;
    assert(job_position_read(directory, &position) == 0);
    assert(position.next_offset == follower->offset && position.next_line == follower->events);
    assert(position.first_line == position.lines_dropped);
}

/* ---- writing ---- */

static int take_line(void *context, const struct line *line)
{
    job_log_line(context, "stdout", line);
    return 0;
}

/* The input as a job prints it, `piece` bytes at a time, of which a follower sees all at once. */
static void write_log(int directory, const char *bytes, size_t length, size_t piece,
                      struct follower *follower)
{
    struct job_log log;
    struct line_reader reader;
    assert(job_log_open(&log, directory, JOB_ID, LOG_MAX) == 0);
    line_reader_init(&reader, directory, piece * 3);
    for (size_t at = 0; at < length; at += piece) {
        size_t left = length - at;
        assert(line_reader_feed(&reader, bytes + at, left < piece ? left : piece, take_line,
                                &log) == 0);
        job_log_flush(&log);
        follow(follower);
        check_position(directory, follower);
    }
    assert(line_reader_end(&reader, take_line, &log) == 0);
    line_reader_clear(&reader);
    job_log_close(&log);
    follow(follower);
    check_position(directory, follower);
}

/* What the follower should have seen. */
static struct text expected(const char *bytes, size_t length)
{
    struct text lines = {0};
    append(&lines, "", 0);
    for (size_t at = 0; at < length;) {
        const char *newline = memchr(bytes + at, '\n', length - at);
        size_t next = newline == NULL ? length : (size_t)(newline - bytes) + 1;
        size_t end = newline == NULL ? next : next - 1;
        while (end > at && bytes[end - 1] == '\r') {
            end--;
        }
        size_t text_length;
        cleanup_free char *text = text_of(bytes + at, end - at, &text_length);
        append(&lines, text, text_length);
        append(&lines, "\n", 1);
        at = next;
    }
    return lines;
}

/* A runner that died in the middle of an event has left nothing that counts. */
static void check_repair(int directory, const struct follower *follower)
{
    static const char torn[] = "event: log\ndata: {}\nid: 550e8400-1-1\n";
    uint64_t last;
    uint64_t after;
    assert(job_segment_find(directory, JOB_SEGMENT_NONE - 1, &last, &after) == 0);
    cleanup_fd int fd = job_segment_open(directory, last, O_WRONLY | O_APPEND);
    assert(fd >= 0 && write(fd, torn, sizeof(torn) - 1) == sizeof(torn) - 1);
    assert(job_log_repair(directory) == 0);
    check_position(directory, follower);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct follower follower = {.events = 0};
    int directory = scratch_directory();
    int lowest = lowest_descriptor();
    size_t piece = 16 + (size_t)input_number(&input, 1) % 240; /* less than a log in events */
    size_t length = input.left;
    const char *bytes = input_bytes(&input, &length);
    struct text lines = expected(bytes, length);
    log_cursor_init(&follower.cursor, directory);
    append(&follower.lines, "", 0);
    write_log(directory, bytes, length, piece, &follower);
    assert(follower.lines.length == lines.length &&
           memcmp(follower.lines.data, lines.data, lines.length) == 0);
    check_repair(directory, &follower);
    log_cursor_clear(&follower.cursor);
    assert(lowest_descriptor() == lowest);
    free(lines.data);
    free(follower.lines.data);
    free(follower.line.data);
    free(follower.unread.data);
    return 0;
}

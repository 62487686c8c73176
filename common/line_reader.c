#include "common/line_reader.h"

#include <string.h>

#include "common/clock.h"
#include "common/utf8.h"

#define OPEN_END_MAX ((size_t)64)

void line_reader_init(struct line_reader *reader, int directory_fd, size_t memory_max)
{
    *reader = (struct line_reader){.directory_fd = directory_fd,
                                   .memory_max = memory_max,
                                   .patience_ms = LINE_PATIENCE_NONE,
                                   .due_ms = LINE_NEVER_DUE};
}

void line_reader_clear(struct line_reader *reader)
{
    spool_freep(&reader->held);
    reader->is_split = false;
    reader->due_ms = LINE_NEVER_DUE;
}

uint64_t line_reader_pending(const struct line_reader *reader)
{
    return reader->held == NULL ? 0 : spool_size(reader->held);
}

static int hold(struct line_reader *reader, const char *data, size_t length)
{
    if (reader->held == NULL) {
        reader->held = spool_new(reader->directory_fd, reader->memory_max);
        if (reader->held == NULL) {
            return -1;
        }
    }
    if (reader->patience_ms >= 0 && reader->due_ms == LINE_NEVER_DUE) {
        reader->due_ms = clock_monotonic_ms() + reader->patience_ms;
    }
    return spool_write(reader->held, data, length);
}

/* Cuts the \r at the end of line->held, block by block: there may be any number of them. */
static int cut_held(struct line *line)
{
    char block[4096];
    while (line->held_length > 0) {
        size_t length =
            line->held_length < sizeof(block) ? (size_t)line->held_length : sizeof(block);
        if (spool_read(line->held, line->held_length - length, block, length) != (ssize_t)length) {
            return -1;
        }
        size_t left = length;
        while (left > 0 && block[left - 1] == '\r') {
            left--;
        }
        line->held_length -= length - left;
        if (left > 0) {
            break;
        }
    }
    return 0;
}

/* Passes on the line that is what is held followed by tail, and forgets what is held. */
static int end_line(struct line_reader *reader, const char *tail, size_t length,
                    line_function *function, void *context)
{
    struct line line = {.held = reader->held,
                        .held_length = line_reader_pending(reader),
                        .tail = tail,
                        .tail_length = length};
    while (line.tail_length > 0 && tail[line.tail_length - 1] == '\r') {
        line.tail_length--;
    }
    if (line.held != NULL && line.tail_length == 0 && cut_held(&line) != 0) {
        return -1;
    }
    int result = function(context, &line);
    line_reader_clear(reader);
    return result;
}

int line_reader_feed(struct line_reader *reader, const char *data, size_t length,
                     line_function *function, void *context)
{
    const char *end = data + length;
    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        if (newline == NULL) {
            return hold(reader, data, (size_t)(end - data));
        }
        int result = end_line(reader, data, (size_t)(newline - data), function, context);
        if (result != 0) {
            return result;
        }
        data = newline + 1;
    }
    return 0;
}

/* How many bytes at the end of a piece belong to the next one. */
static size_t open_end(const char *tail, size_t length)
{
    size_t open = 0;
    while (open < length && tail[length - 1 - open] == '\r') {
        open++;
    }
    return open > 0 ? open : utf8_unfinished_length(tail, length);
}

int line_reader_split(struct line_reader *reader, line_function *function, void *context)
{
    char tail[OPEN_END_MAX];
    uint64_t size = line_reader_pending(reader);
    size_t length = size < sizeof(tail) ? (size_t)size : sizeof(tail);
    reader->due_ms = LINE_NEVER_DUE;
    if (size > 0 && spool_read(reader->held, size - length, tail, length) != (ssize_t)length) {
        return -1;
    }
    size_t open = open_end(tail, length);
    if (size == open) {
        return 0;
    }
    const struct line piece = {
        .held = reader->held, .held_length = size - open, .tail = "", .continued = true};
    int result = function(context, &piece);
    reader->is_split = true;
    if (open == 0) {
        spool_freep(&reader->held);
        return result;
    }
    spool_reset(reader->held);
    return spool_write(reader->held, tail + length - open, open) < 0 ? -1 : result;
}

int line_reader_serve(struct line_reader *reader, line_function *function, void *context)
{
    return reader->due_ms == LINE_NEVER_DUE || clock_monotonic_ms() < reader->due_ms
               ? 0
               : line_reader_split(reader, function, context);
}

int line_reader_end(struct line_reader *reader, line_function *function, void *context)
{
    return line_reader_pending(reader) == 0 && !reader->is_split
               ? 0
               : end_line(reader, "", 0, function, context);
}

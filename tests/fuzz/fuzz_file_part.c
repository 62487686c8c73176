/*
 * Parts of a file, whose bytes come in pieces of any size: what is taken is what a look at all of
 * the file finds.
 */
#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "fcgi-app/files/file_part.h"
#include "tests/fuzz/fuzz.h"

/* The end of so many lines, from `at` on. */
static size_t end_of_lines(const char *text, size_t length, size_t at, uint64_t lines)
{
    for (; at < length && lines > 0; at++) {
        lines -= text[at] == '\n';
    }
    return at;
}

static uint64_t lines_of(const char *text, size_t length)
{
    uint64_t lines = length > 0 && text[length - 1] != '\n';
    for (size_t at = 0; at < length; at++) {
        lines += text[at] == '\n';
    }
    return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint64_t line = input_number(&input, 1), bytes = input_number(&input, 1);
    uint64_t lines = input_number(&input, 1);
    size_t step = 1 + (size_t)input_number(&input, 1), length = SIZE_MAX;
    const char *text = input_bytes(&input, &length);
    struct file_part part = {.counts = true, .lines_away = line, .last = '\n'};
    part.bytes_left = bytes == 0 ? UINT64_MAX : bytes;
    part.lines_left = lines == 0 ? UINT64_MAX : lines;

    size_t begin = end_of_lines(text, length, 0, line);
    size_t end = end_of_lines(text, length, begin, part.lines_left);
    end = end - begin > part.bytes_left ? begin + (size_t)part.bytes_left : end;

    size_t skipped = 0, taken = 0;
    for (size_t at = 0; at < length; at += step) {
        const char *piece = text + at;
        size_t left = length - at < step ? length - at : step, used = 0;
        if (part.lines_away > 0) {
            used = file_part_skip(&part, piece, left);
            skipped += used;
        }
        if (part.lines_away == 0 && !file_part_is_full(&part)) {
            size_t more = file_part_take(&part, piece + used, left - used);
            taken += more;
            used += more;
        }
        file_part_count(&part, piece + used, left - used);
    }
    assert(skipped == begin && skipped + taken == end);
    assert(file_part_lines(&part) == lines_of(text, length));
    return 0;
}

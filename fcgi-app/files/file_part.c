#include "fcgi-app/files/file_part.h"

#include <string.h>

const char *file_part_read(const struct json_body *body, struct file_part *part)
{
    bool by_offset = json_is_given(body, "offset"), by_line = json_is_given(body, "line");
    bool by_bytes = json_is_given(body, "max_bytes"), by_lines = json_is_given(body, "max_lines");
    uint64_t line = json_count(body, "line", 1);
    *part = (struct file_part){
        .is_asked = by_offset || by_line || by_bytes || by_lines,
        .offset = json_count(body, "offset", 0),
        .lines_away = line - 1,
        .bytes_left = json_count(body, "max_bytes", UINT64_MAX),
        .lines_left = json_count(body, "max_lines", UINT64_MAX),
        .last = '\n',
    };
    part->counts = (by_line || by_lines) && part->offset == 0;
    if (by_offset && by_line) {
        return "offset and line exclude each other";
    }
    if (line == 0) {
        return "line must be at least 1";
    }
    if (part->bytes_left == 0) {
        return "max_bytes must be at least 1";
    }
    return part->lines_left == 0 ? "max_lines must be at least 1" : NULL;
}

/* Goes along at most *left lines, which becomes less. How many bytes that are. */
static size_t pass_lines(struct file_part *part, const char *data, size_t length, uint64_t *left)
{
    size_t at = 0;
    while (at<length && * left> 0) {
        const char *newline = memchr(data + at, '\n', length - at);
        if (newline == NULL) {
            at = length;
            break;
        }
        at = (size_t)(newline - data) + 1;
        part->newlines++;
        --*left;
    }
    if (at > 0) {
        part->last = data[at - 1];
    }
    return at;
}

size_t file_part_skip(struct file_part *part, const char *data, size_t length)
{
    return pass_lines(part, data, length, &part->lines_away);
}

size_t file_part_take(struct file_part *part, const char *data, size_t length)
{
    length = length < part->bytes_left ? length : (size_t)part->bytes_left;
    if (part->counts || part->lines_left != UINT64_MAX) {
        length = pass_lines(part, data, length, &part->lines_left);
    }
    part->bytes_left -= length;
    return length;
}

bool file_part_is_full(const struct file_part *part)
{
    return part->bytes_left == 0 || part->lines_left == 0;
}

void file_part_count(struct file_part *part, const char *data, size_t length)
{
    uint64_t all = UINT64_MAX;
    (void)pass_lines(part, data, length, &all);
}

uint64_t file_part_lines(const struct file_part *part)
{
    return part->newlines + (part->last != '\n');
}

/*
 * A part of a file: from an offset or a line on, so many bytes or lines. The bytes of the file go
 * through it once, in their order, and it says which of them belong to the part.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/http/json_body.h"

struct file_part {
    bool is_asked;       /* the request has one of the members below */
    bool counts;         /* lines, from the beginning of the file */
    uint64_t offset;     /* where to begin to read */
    uint64_t lines_away; /* lines that come before the part */
    uint64_t bytes_left; /* that the part may still have */
    uint64_t lines_left;
    uint64_t newlines; /* that have gone through */
    char last;         /* the byte that went through last; at first a newline */
};

#define FILE_PART_MEMBERS                                                                          \
    {JSON_MEMBER("offset", COUNT, "Bytes of the file before the part that is read.")},             \
        {JSON_MEMBER("max_bytes", COUNT, "Read so many bytes at most.")},                          \
        {JSON_MEMBER("line", COUNT, "The first line that is read; a file begins with line 1.")},   \
    {                                                                                              \
        JSON_MEMBER("max_lines", COUNT, "Read so many lines at most.")                             \
    }

/* Reads which part a request wants, with FILE_PART_MEMBERS among the members; without them it is
 * the whole file. NULL, or what is wrong. */
const char *file_part_read(const struct json_body *body, struct file_part *part);

/* How many of the bytes come before the part. It begins behind them once `lines_away` is 0. */
size_t file_part_skip(struct file_part *part, const char *data, size_t length);

/* How many of the bytes, which follow what was skipped and taken, belong to the part. */
size_t file_part_take(struct file_part *part, const char *data, size_t length);

/* Whether nothing more belongs to the part. */
bool file_part_is_full(const struct file_part *part);

/* Counts the lines of what comes after the part. */
void file_part_count(struct file_part *part, const char *data, size_t length);

/* How many lines have gone through. What follows the last newline is one, too. */
uint64_t file_part_lines(const struct file_part *part);

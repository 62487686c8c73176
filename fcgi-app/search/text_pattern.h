/*
 * What /search_files looks for: a fixed text, or a regular expression of PCRE2, in lines. A line
 * ends with \n; a \r before that is no part of it. A pattern never sees more than one line, so
 * nothing of it matches a line's end. A pattern belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/files/stop_check.h"

struct text_pattern;

#define PATTERN_FAULT_SIZE 256

/*
 * A pattern of a text (borrowed until the pattern is freed). The caller frees it. NULL: memory is
 * out, or the text is wrong, and `fault` (PATTERN_FAULT_SIZE bytes; "" otherwise) says why.
 */
struct text_pattern *text_pattern_new(const char *text, bool is_fixed, bool ignores_case,
                                      char *fault);
void text_pattern_free(struct text_pattern *pattern);

/* A line in which the pattern is. */
struct matched_line {
    const char *begin, *end; /* without its end */
    const char *match;       /* the first match in it */
};

enum pattern_result {
    PATTERN_FOUND,
    PATTERN_ABSENT,
    PATTERN_EXPLODED, /* it would need too many steps, or too much memory, in the line at `begin` */
    PATTERN_STOPPED,  /* the check asked to stop */
    PATTERN_NO_MEMORY, /* there is none */
};

/* Begins to search whole lines, [begin, end), which are borrowed until the last of them was found,
 * as the check is. Only the last line may lack its end. */
void text_pattern_begin(struct text_pattern *pattern, const struct stop_check *check,
                        const char *begin, const char *end);

/* The next of these lines that has a match. */
enum pattern_result text_pattern_next(struct text_pattern *pattern, struct matched_line *line);

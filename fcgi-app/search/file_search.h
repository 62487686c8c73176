/*
 * Searches a file line by line in bounded memory: a buffer that is used again for the next file.
 * Binary files, which have a NUL near their beginning, have no lines.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/files/stop_check.h"
#include "fcgi-app/search/text_pattern.h"

struct file_search;

/* A line that was found. Borrowed until the function returns. */
struct found_line {
    uint64_t number; /* counted from 1 */
    uint64_t column; /* of the match, in bytes, counted from 1 */
    uint64_t
        skipped; /* bytes of the line before `text`: of a very long one, which comes in pieces */
    const char *text; /* without the line's end */
    size_t length;
    /* The lines before it, at most context_lines, and those behind it, perhaps more. There are
     * fewer where lines are long. */
    const char *before_begin, *before_end, *after_begin, *after_end;
};

/* False ends the search of this file. */
typedef bool found_line_function(void *context, const struct found_line *line);

/* Longer lines are searched in pieces of this size. */
#define SEARCH_LINE_MAX ((size_t)128 << 10)

/* Borrows the pattern. `context_lines` is how many lines around a found one there should be. The
 * caller frees it; NULL when memory is out. */
struct file_search *file_search_new(struct text_pattern *pattern, size_t context_lines);
void file_search_free(struct file_search *search);

enum search_result {
    SEARCH_DONE,     /* to the end, or the file is binary */
    SEARCH_ENOUGH,   /* the function has ended it */
    SEARCH_EXPLODED, /* the pattern needs too many steps in the line *line */
    SEARCH_FAILED,   /* errno; ECANCELED: the check asked to stop; ENOMEM: memory is out */
};

/*
 * Searches a file (borrowed, at its beginning, with the size that fstat(2) reports) from the line
 * `first` on. `function` gets each line that matches. *line is filled for SEARCH_EXPLODED.
 */
enum search_result file_search_run(struct file_search *search, int fd, uint64_t size,
                                   uint64_t first, const struct stop_check *check,
                                   found_line_function *function, void *context, uint64_t *line);

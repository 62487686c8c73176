/*
 * The words in the files of nginx/ that a rendering replaces: directories, names, and settings such
 * as @MAX_BODY@.
 */
#pragma once

#include <limits.h>
#include <stddef.h>

#define WORDS_MOST     36
#define WORDS_TEXT_MAX (PATH_MAX + 256) /* of what one stands for, with its NUL */

/* {0} is empty. */
struct words {
    size_t count;
    struct {
        const char *word; /* borrowed, not empty */
        char text[WORDS_TEXT_MAX];
    } list[WORDS_MOST];
};

/* Adds a word, and what it stands for: both must fit. */
__attribute__((format(printf, 3, 4))) void words_add(struct words *words, const char *word,
                                                     const char *format, ...);

/* The text of the file `path` with each word replaced; where several begin, the first that was
 * added counts. The caller frees it. NULL with errno. */
char *words_replace(const struct words *words, const char *path);

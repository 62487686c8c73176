/*
 * Files of the tree nginx/ with words in them that stand for something: directories, names.
 */
#ifndef LAUNCHER_RENDER_TEMPLATE_H
#define LAUNCHER_RENDER_TEMPLATE_H

#include <stddef.h>
#include <stdio.h>

struct template_word {
    const char *word; /* not empty */
    const char *text; /* what it stands for */
};

/* Writes the file `path` to `out`, each word as what it stands for; where several begin, the first
 * of `words` counts. 0, or -1 with errno: the file cannot be read. (Whether `out` took everything
 * fclose(3) tells.) */
int template_write(FILE *out, const char *path, const struct template_word *words, size_t count);

#endif

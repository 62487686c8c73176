/*
 * One file of the configuration, put together in memory and written whole. What goes wrong on the
 * way is one line to standard error, and then the file is not written.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "launcher/render/rendering.h"
#include "launcher/render/words.h"

/* What stands in the files of nginx/ for the directory of the configuration, and for that of a
 * sandbox. */
#define DEFAULT_RUN_DIR  "/run/nginx-sandbox"
#define DEFAULT_CONF_DIR DEFAULT_RUN_DIR "/nginx"

struct generated {
    FILE *stream; /* to write to; NULL: something went wrong, and a line says so */
    char *text;
    size_t length;
};

/* Begins a file; `name` is for messages. Each is ended by generated_write(). */
void generated_begin(struct generated *file, const char *name);

/* Appends a text. */
__attribute__((format(printf, 2, 3))) void generated_print(struct generated *file,
                                                           const char *format, ...);

/* Appends the file `template` of the layout's tree, with these words replaced. */
void generated_append(const struct rendering *r, struct generated *file, const char *template,
                      const struct words *words);

/* Writes the file by its name in the directory of the configuration, and releases it. 0 or -1. */
int generated_write(const struct rendering *r, struct generated *file, const char *name,
                    mode_t mode);

/* Writes generated/`name` as one text. 0 or -1. */
__attribute__((format(printf, 4, 5))) int
generated_text(const struct rendering *r, const char *name, mode_t mode, const char *format, ...);

/*
 * The unfinished line that a terminal holds in canonical mode. The kernel keeps TERMINAL_LINE_MAX
 * bytes of a line and drops what comes after them in silence, so what would make a line longer has
 * to be refused before it is written.
 *
 * Not thread-safe, as all of procd and its runners.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#define TERMINAL_LINE_MAX ((size_t)4095) /* without its end: N_TTY_BUF_SIZE - 1 */

struct terminal_line {
    size_t length;   /* at most what the terminal holds of it, and never less */
    bool is_literal; /* the next byte has no meaning of its own (VLNEXT) */
};

/* Whether the terminal in the mode `mode` would keep all of data[0..length). */
bool terminal_line_fits(const struct terminal_line *line, const struct termios *mode,
                        const char *data, size_t length);

/* The terminal has taken these bytes. */
void terminal_line_take(struct terminal_line *line, const struct termios *mode, const char *data,
                        size_t length);

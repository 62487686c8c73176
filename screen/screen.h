/*
 * A terminal's screen, as libvterm makes it of the bytes that a program has printed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct screen;

/* An empty screen of this size. NULL: memory is out. */
struct screen *screen_new(int cols, int rows);
void screen_free(struct screen *screen);

/* Prints bytes. What they make the terminal answer is dropped. */
void screen_print(struct screen *screen, const char *bytes, size_t length);

/*
 * Writes what there is to see, as fcgi-app/output/screen_text.h reads it:
 *
 *   <row> <column> <visible> <alternate>\n   of the cursor, from 0; 1 or 0; whether the alternate
 *                                            screen is in use
 *   <title>\n                                without control characters
 *   <text>\n                                 of each row, without the spaces at its end
 */
void screen_write(const struct screen *screen, FILE *out);

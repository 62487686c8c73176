/*
 * What render-screen has written (screen/screen.h), which is not trusted.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct screen_text {
    int row, col; /* of the cursor, from 0 */
    bool is_visible;
    bool is_alternate;
    const char *title; /* borrowed, as the text */
    size_t title_length;
    const char *text; /* the rows, with a newline between two */
    size_t text_length;
};

/* Reads it. False when it is none. */
bool screen_text_parse(const char *data, size_t length, struct screen_text *screen);

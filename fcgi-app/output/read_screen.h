/*
 * GET /read_screen.
 */
#pragma once

/* Finds the program that renders screens, beside this one. Call once, before threads. 0, or -1 with
 * errno. */
int read_screen_init(void);

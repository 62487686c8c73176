/*
 * Spaces around a text.
 */
#ifndef LAUNCHER_BASE_TRIM_H
#define LAUNCHER_BASE_TRIM_H

#define SPACES " \t\r"

/* The text without the spaces at its ends: where it begins; its end is cut off in place. */
char *trim(char *text);

#endif

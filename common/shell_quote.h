/*
 * Words as a shell would read them.
 *
 * Thread-safe.
 */
#pragma once

#include <stddef.h>

/*
 * Appends a word to the `used` bytes of a line, after a blank if it is not the first, in quotes if
 * a shell would read it otherwise. The line gets no more than `room` bytes, and no NUL: a word that
 * does not fit is cut. The bytes that the line has then.
 */
size_t shell_quote_append(char *line, size_t used, size_t room, const char *word);

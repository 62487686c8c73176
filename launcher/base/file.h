/*
 * Whole small files and new directories, relative to a directory's descriptor. Errors are in errno;
 * the caller reports the file.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Reads a text of at most `most` bytes into a new NUL-terminated buffer that the caller frees. NULL
 * with errno on error: EFBIG if there are more, EILSEQ if there is a NUL in it. */
char *file_read(int directory, const char *path, size_t most);

/* What some editors put in front of a text in UTF-8. */
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* The text without such a mark at its beginning. */
const char *file_skip_mark(const char *text);

/* The words for such an errno about a file. */
const char *file_reason(int number);

/* Makes a new file with exactly this mode, whatever the umask. 0, or -1 with errno. */
int file_write(int directory, const char *path, mode_t mode, const char *data, size_t length);

/* Makes a directory with exactly this mode. 0, or -1 with errno. */
int file_make_dir(int directory, const char *path, mode_t mode);

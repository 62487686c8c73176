/*
 * Names and paths of files in answers. A name may hold any bytes but NUL and slash, and a JSON
 * string holds characters. The rule for all calls (docs/api.md, "Names of files"): the member is
 * the name as text, in which U+FFFD stands for bytes that are no UTF-8. If there are such bytes,
 * a second member follows, with _escaped behind its name: the exact name, in which %xx stands for
 * every byte but A-Z, a-z, 0-9, - . _ ~ and the slash. Behind /files that is a URL's path.
 *
 * The functions write `"path":"…"` and, if need be, `,"path_escaped":"…"`: members of a JSON
 * object, without a comma around them. All are thread-safe.
 */
#pragma once

#include <stddef.h>

struct writer;

/* Into an answer. 0, or -1 when the client has left. */
int name_text_write(struct writer *writer, const char *member, const char *name, size_t length);

/* The escaped form alone, into `out` (3 * length bytes), without a NUL. How many bytes it wrote. It
 * is plain in a JSON string, and percent_decode() (query.h) reads it. */
size_t name_text_escape(char *out, const char *name, size_t length);

/* Room for name_text_render(), of a member's name of up to 30 bytes. */
#define NAME_TEXT_SIZE(length) ((length)*9 + 128)

/* The same into `out` (NAME_TEXT_SIZE(length) bytes), without a NUL. How many bytes it wrote. */
size_t name_text_render(char *out, const char *member, const char *name, size_t length);

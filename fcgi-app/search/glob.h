/*
 * Globs, which choose files by their paths: * and ? within a name, ** for any directories, [a-z],
 * [!a-z], {one,other}, and \ before a character that is to stand for itself. A glob without a slash
 * is compared with the name alone, another one with the path below the directory of the request. A
 * dot at the beginning of a name is a character like any other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct glob;

#define GLOB_FAULT_SIZE 96

/* A glob of a text. The caller frees it. NULL: memory is out (errno), or the glob is wrong, and
 * `fault` (GLOB_FAULT_SIZE bytes; "" otherwise) says why. */
struct glob *glob_new(const char *text, char *fault);
void glob_free(struct glob *glob);

/* Whether it chooses the file of this path, whose last component is `name`. A glob that is NULL
 * chooses all. It takes at most the product of both lengths, for each alternative in braces.
 * Thread-safe. */
bool glob_chooses(const struct glob *glob, const char *path, const char *name);

/* How many components the path of a chosen file has at most; SIZE_MAX: any number. Thread-safe. */
size_t glob_depth(const struct glob *glob);

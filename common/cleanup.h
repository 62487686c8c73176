/*
 * Scope-bound ownership: a variable marked with one of these releases what it holds when it goes
 * out of scope, and steal_*() hands the value on. (The idea is systemd's, crun's and bubblewrap's.)
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/analyzer.h"

#define cleanup_(function) __attribute__((cleanup(function)))

/* A value that is released here may have been handed on before, or come from getline(3). */
ANALYZER_OFF("-Wanalyzer-malloc-leak")
ANALYZER_OFF("-Wanalyzer-use-of-uninitialized-value")

/* Closes *fd unless it is negative, keeps errno, and makes it -1. */
static inline void close_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        (void)close(*fd);
        errno = saved;
        *fd = -1;
    }
}

/* Closes *directory unless it is NULL and keeps errno. */
static inline void close_directory(DIR **directory)
{
    if (*directory != NULL) {
        int saved = errno;
        (void)closedir(*directory);
        errno = saved;
    }
}

/* Closes *file unless it is NULL: for reading, where nothing is lost by an error. */
static inline void close_file(FILE **file)
{
    if (*file != NULL) {
        (void)fclose(*file);
    }
}

/* Frees the pointer that `pointer` points at. */
static inline void free_pointer(void *pointer)
{
    free(*(void **)pointer);
}

ANALYZER_ON
ANALYZER_ON

/* Gives *fd to the caller and leaves -1 behind. */
static inline int steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

#define cleanup_fd        cleanup_(close_fd)
#define cleanup_directory cleanup_(close_directory)
#define cleanup_file      cleanup_(close_file)
#define cleanup_free      cleanup_(free_pointer)

/* Gives the pointer to the caller and leaves NULL behind. */
#define steal_pointer(pointer)                                                                     \
    ({                                                                                             \
        __typeof__(pointer) stolen_ = (pointer);                                                   \
        (pointer) = NULL;                                                                          \
        stolen_;                                                                                   \
    })

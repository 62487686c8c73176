/*
 * The directory that targets make their files in.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/directory.h"
#include "common/io.h"
#include "tests/fuzz/fuzz.h"

static char path[4096];
static int directory = -1;

static void empty_directory(void)
{
    cleanup_directory DIR *entries = directory_list(directory);
    assert(entries != NULL);
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) { /* NOLINT(concurrency-mt-unsafe): own DIR */
        if (entry->d_name[0] != '.') {
            (void)unlinkat(directory, entry->d_name, 0);
        }
    }
}

static void remove_directory(void)
{
    empty_directory();
    (void)rmdir(path);
}

static void make_directory(void)
{
    const char *parent = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): one thread */
    (void)snprintf(path, sizeof(path), "%s/fuzz-XXXXXX", parent == NULL ? "/tmp" : parent);
    if (mkdtemp(path) == NULL || (directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        perror(path);
        exit(1); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
    (void)atexit(remove_directory);
}

int scratch_directory(void)
{
    if (directory < 0) {
        make_directory();
    } else {
        empty_directory();
    }
    return directory;
}

void scratch_file(const char *name, const void *data, size_t length)
{
    cleanup_fd int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0 && io_write_all(fd, data, length) == 0);
}

int lowest_descriptor(void)
{
    cleanup_fd int fd = dup(STDERR_FILENO);
    assert(fd >= 0);
    return fd;
}

/*
 * A main for a fuzz target without libFuzzer, so that any compiler can run it over a corpus:
 *
 *   target FILE...     runs each file, and with it every beginning of a short one and some
 *                      beginnings of a long one
 *
 * It names the file before each run, so that what is said last is what a crash belongs to.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "tests/fuzz/fuzz.h"

#define CUTS 16 /* beginnings of a file that are tried */

/* In a block of its own length, so that AddressSanitizer sees what reads beyond it. */
static int run(const char *data, size_t length)
{
    cleanup_free uint8_t *copy = malloc(length == 0 ? 1 : length);
    if (copy == NULL) {
        return -1;
    }
    memcpy(copy, data, length);
    (void)LLVMFuzzerTestOneInput(copy, length);
    return 0;
}

static int run_cuts(const char *data, size_t length)
{
    for (size_t i = 0; i <= CUTS; i++) {
        if (run(data, length * i / CUTS) < 0) {
            return -1;
        }
    }
    return 0;
}

static int run_file(const char *path)
{
    struct stat status;
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0) {
        return -1;
    }
    cleanup_free char *data = malloc((size_t)status.st_size + 1);
    ssize_t length = data == NULL ? -1 : io_read_full(fd, data, (size_t)status.st_size);
    return length < 0 ? -1 : run_cuts(data, (size_t)length);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        (void)fprintf(stderr, "%s\n", argv[i]);
        if (run_file(argv[i]) < 0) {
            perror(argv[i]);
            return 1;
        }
    }
    return 0;
}

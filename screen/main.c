/*
 * render-screen COLS ROWS SKIP: what a terminal of this size shows after the bytes of standard
 * input, on standard output (screen.h). fcgi-app has it run like any command, as the user of
 * commands: whatever hostile bytes make of it, it may no more than the program that printed them.
 *
 * With SKIP 1 the bytes begin anywhere in the output of a program: what may be the end of an escape
 * sequence, or of a character, is skipped.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/io.h"
#include "screen/screen.h"

#define READ_MAX    65536
#define SIDE_MOST   65535
#define SKIP_MOST   4096 /* no sequence of a program is longer, but pictures */
#define MEMORY_MOST ((rlim_t)1 << 30)
#define SECONDS     10 /* of a processor */

static void limit(__rlimit_resource_t what, rlim_t most)
{
    const struct rlimit both = {.rlim_cur = most, .rlim_max = most};
    if (setrlimit(what, &both) != 0) {
        perror("render-screen: setrlimit");
    }
}

/* How much of the first bytes is skipped: a line feed and an escape end whatever was before. */
static size_t skipped(const char *bytes, size_t length)
{
    size_t most = length < SKIP_MOST ? length : SKIP_MOST;
    for (size_t at = 0; at < most; at++) {
        if (bytes[at] == '\n') {
            return at + 1;
        }
        if (bytes[at] == '\x1b') {
            return at;
        }
    }
    return most;
}

static int replay(struct screen *screen, bool skips)
{
    static char bytes[READ_MAX];
    ssize_t count;
    for (; (count = io_read_full(STDIN_FILENO, bytes, sizeof(bytes))) > 0; skips = false) {
        size_t skip = skips ? skipped(bytes, (size_t)count) : 0;
        screen_print(screen, bytes + skip, (size_t)count - skip);
    }
    return count < 0 ? -1 : 0;
}

/* A number of columns or rows; 0 if it is none. */
static int side_of(const char *text)
{
    long number = strtol(text, NULL, 10);
    return number > 0 && number <= SIDE_MOST ? (int)number : 0;
}

int main(int argc, char **argv)
{
    int cols = argc == 4 ? side_of(argv[1]) : 0, rows = argc == 4 ? side_of(argv[2]) : 0;
    if (cols == 0 || rows == 0) {
        (void)fputs("usage: render-screen COLS ROWS SKIP\n", stderr);
        return 2;
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they reserve terabytes */
    limit(RLIMIT_AS, MEMORY_MOST);
#endif
    limit(RLIMIT_CPU, SECONDS);
    limit(RLIMIT_CORE, 0);
    struct screen *screen = screen_new(cols, rows);
    if (screen == NULL || replay(screen, strcmp(argv[3], "1") == 0) < 0) {
        perror("render-screen");
        return 1;
    }
    screen_write(screen, stdout);
    screen_free(screen);
    if (fflush(stdout) != 0) {
        perror("render-screen: output");
        return 1;
    }
    return 0;
}

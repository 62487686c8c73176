/*
 * What a terminal costs that nobody keeps: a loop that reads the PTY of a command, and no more.
 *
 *   bare_terminal COMMAND          waits for an R, types a newline; prints the bytes that come up
 * to the command's end, and the seconds bare_terminal COMMAND KEYS     types keys after an R, as
 * bench/viewers does
 */
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/keys.h"
#include "common/clock.h"
#include "common/io.h"

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void type(void *context)
{
    const int *master = context;
    const char key = KEY;
    must(io_write_all(*master, &key, 1) == 0, "write");
}

static void read_echo(void *context)
{
    const int *master = context;
    char key;
    must(io_read_some(*master, &key, 1) == 1, "read");
}

static void read_to_the_end(int master)
{
    static char buffer[1 << 16];
    unsigned long bytes = 0;
    int64_t start = clock_monotonic_ms();
    must(io_write_all(master, "\n", 1) == 0, "write");
    ssize_t count;
    while ((count = io_read_some(master, buffer, sizeof(buffer))) > 0) {
        bytes += (unsigned long)count;
    }
    must(count == 0 || errno == EIO, "read"); /* EIO: nobody has the other side any more */
    printf("%lu %.6f\n", bytes, (double)(clock_monotonic_ms() - start) / 1000);
}

int main(int argc, char **argv)
{
    int master;
    char ready = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: bare_terminal COMMAND [KEYS]\n");
        return 2;
    }
    pid_t child = forkpty(&master, NULL, NULL, NULL);
    must(child >= 0, "forkpty");
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", argv[1], (char *)NULL);
        _exit(127);
    }
    while (ready != KEYS_READY) {
        must(io_read_some(master, &ready, 1) == 1, "read");
    }
    if (argc > 2) {
        keys_measure((unsigned)atoi(argv[2]), type, read_echo, &master);
        must(kill(child, SIGKILL) == 0, "kill");
    } else {
        read_to_the_end(master);
    }
    return waitpid(child, NULL, 0) == child ? 0 : 1;
}

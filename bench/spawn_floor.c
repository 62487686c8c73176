/*
 * The floor under POST /run: two processes that each do nothing but posix_spawn(sh -c true) with
 * two pipes, read both to their end and wait. Prints commands per second.
 *
 *   spawn_floor SECONDS
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/io.h"

extern char **environ;

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void drain(int fd)
{
    char buffer[4096];
    while (io_read_some(fd, buffer, sizeof(buffer)) > 0) {
    }
    close(fd);
}

static void run_once(void)
{
    char *const argv[] = {"sh", "-c", "true", NULL};
    int out[2];
    int err[2];
    must(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0, "pipe2");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    pid_t pid;
    must(posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ) == 0, "posix_spawn");
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    drain(out[0]);
    drain(err[0]);
    must(waitpid(pid, NULL, 0) == pid, "waitpid");
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 5;
    long *counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(counts != MAP_FAILED, "mmap");
    for (int worker = 0; worker < 2; worker++) {
        pid_t pid = fork();
        must(pid >= 0, "fork");
        if (pid == 0) {
            for (int64_t end = clock_monotonic_ms() + (int64_t)(seconds * 1000);
                 clock_monotonic_ms() < end; counts[worker]++) {
                run_once();
            }
            _exit(0);
        }
    }
    while (wait(NULL) > 0) {
    }
    printf("%.0f\n", (double)(counts[0] + counts[1]) / seconds);
    return 0;
}

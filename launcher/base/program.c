#include "launcher/base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "launcher/base/stop_signal.h"

#define EXIT_NOT_EXECUTED 127

static _Noreturn void program_execute(const char *const arguments[], int output)
{
    stop_signal_unblock();
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
        dup2(output, STDERR_FILENO) >= 0) {
        execvp(arguments[0],
               (char *const *)(uintptr_t)arguments); /* which does not write to them */
    }
    _exit(EXIT_NOT_EXECUTED);
}

/* Waits until the descriptor is readable. If a signal that ends the server is pending first, it
 * kills the child, and the wait is over soon. */
static void program_await(int fd, pid_t child)
{
    cleanup_fd int stop = stop_signal_open();
    struct pollfd polled[] = {{.fd = fd, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
    (void)io_poll(polled, 2, -1);
    if (polled[1].revents != 0) {
        (void)kill(child, SIGKILL);
    }
}

/* Reads to the end, whatever room there is: the child must not wait for a reader. */
static void program_read_all(int fd, pid_t child, char *words, size_t size)
{
    char rest[512];
    size_t length = 0;
    for (;;) {
        bool fits = words != NULL && length < size - 1;
        program_await(fd, child);
        ssize_t count = fits ? io_read_some(fd, words + length, size - 1 - length)
                             : io_read_some(fd, rest, sizeof(rest));
        if (count <= 0) {
            break;
        }
        length += fits ? (size_t)count : 0;
    }
    if (words != NULL) {
        words[length] = '\0';
    }
}

/* Returns the exit status, or -1 with errno. */
static int program_await_exit(pid_t child)
{
    int status = 0;
    cleanup_fd int pidfd = pidfd_open(child, 0);
    if (pidfd >= 0) {
        program_await(pidfd, child);
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    if (!WIFEXITED(status)) {
        errno = ECANCELED;
        return -1;
    }
    return WEXITSTATUS(status);
}

int program_run(const char *const arguments[], char *words, size_t size)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    cleanup_fd int output = ends[0];
    pid_t child = fork();
    if (child == 0) {
        program_execute(arguments, ends[1]);
    }
    close_fd(&ends[1]);
    if (child < 0) {
        return -1;
    }
    program_read_all(output, child, words, size);
    return program_await_exit(child);
}

int program_call(int (*function)(const void *argument), const void *argument)
{
    (void)fflush(stdout); /* or both would write it */
    pid_t child = fork();
    if (child == 0) {
        int result = function(argument);
        (void)fflush(stdout);
        _exit(result);
    }
    return child < 0 ? -1 : program_await_exit(child);
}

bool program_unit_is(const char *question, const char *unit)
{
    const char *const arguments[] = {"systemctl", question, "--quiet", unit, NULL};
    return program_run(arguments, NULL, 0) == 0;
}

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
#include "common/memory_file.h"
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

/* Waits for the end of the child. A signal that ends the server kills it. Returns the exit status,
 * or -1 with errno. */
static int program_await_exit(pid_t child)
{
    int status = 0;
    cleanup_fd int pidfd = pidfd_open(child, 0);
    cleanup_fd int stop = stop_signal_open();
    struct pollfd polled[] = {{.fd = pidfd, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
    if (pidfd >= 0 && io_poll(polled, 2, -1) > 0 && polled[1].revents != 0) {
        (void)kill(child, SIGKILL);
    }
    if (TEMP_FAILURE_RETRY(waitpid(child, &status, 0)) < 0) {
        return -1;
    }
    if (!WIFEXITED(status)) {
        errno = ECANCELED;
        return -1;
    }
    return WEXITSTATUS(status);
}

int program_run_vector(char *words, size_t size, const char *const arguments[])
{
    /* A file never makes the child wait for its reader. */
    cleanup_fd int output = memory_file_create("output");
    pid_t child = output < 0 ? -1 : fork();
    if (child == 0) {
        program_execute(arguments, output);
    }
    int result = child < 0 ? -1 : program_await_exit(child);
    int reason = errno;
    if (words != NULL) {
        ssize_t length = pread(output, words, size - 1, 0);
        words[length < 0 ? 0 : length] = '\0';
    }
    errno = reason;
    return result;
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
    return program_run(NULL, 0, "systemctl", question, "--quiet", unit) == 0;
}

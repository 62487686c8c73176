/*
 * A thread that reads lines. Each write of nginx to the pipe is one line and enters it whole.
 */
#include "launcher/start/nginx_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/io.h"
#include "common/log_drops.h"
#include "common/log_output.h"
#include "common/logger.h"

/* Longer than what nginx writes: a line takes no memory while it runs. */
#define LINE_SIZE        65536
#define END_PATIENCE_SEC 1

bool nginx_log_is_ours(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 && log_output_has_reader(&file);
}

/* Our own descriptor of this file, for files that cannot be opened; -1. */
static int find_open(const struct stat *file)
{
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        struct stat own;
        if (fstat(fd, &own) == 0 && own.st_dev == file->st_dev && own.st_ino == file->st_ino) {
            return fd;
        }
    }
    errno = ENXIO;
    return -1;
}

/* Standard error if the access log is not ours to write. -1 after one line. */
static int open_access_log(void)
{
    const char *path = getenv("SANDBOX_ACCESS_LOG");
    struct stat file;
    if (path == NULL || path[0] != '/' || !nginx_log_is_ours(path) || stat(path, &file) < 0) {
        return STDERR_FILENO;
    }
    int fd = find_open(&file);
    if (fd < 0) {
        /* A FIFO without a reader keeps some lines for the next one. */
        fd = open(path, (S_ISFIFO(file.st_mode) ? O_RDWR : O_WRONLY) | O_APPEND | O_NONBLOCK |
                            O_NOCTTY | O_CLOEXEC);
    }
    if (fd < 0) {
        log_line("SANDBOX_ACCESS_LOG: %s: %m", path);
    }
    return fd;
}

/* From each worker that runs as root where setgroups(2) is forbidden, as in most user namespaces:
 * nginx goes on, and the launcher has logged the consequence (worker_user.c). */
static bool is_known_complaint(const char *line, size_t length)
{
    static const char words[] = " initgroups(root, 0) failed ";
    return memmem(line, length, words, strlen(words)) != NULL;
}

/* Passes one line on. Those of the access log are JSON; those of the error log begin with a date.
 * */
static void relay_line(const struct nginx_log *log, const char *line, size_t length)
{
    bool is_access = line[0] == '{';
    int fd = is_access ? log->access_log : STDERR_FILENO;
    if (!is_access && is_known_complaint(line, length)) {
        return;
    }
    if (log_output_write(fd, line, length) < 0) {
        log_drops_add(1);
    }
}

static void *relay(void *context)
{
    struct nginx_log *log = context;
    for (ssize_t length; (length = getline(&log->line, &log->size, log->input)) > 0;) {
        relay_line(log, log->line, (size_t)length);
    }
    return NULL;
}

int nginx_log_start(struct nginx_log *log)
{
    int ends[2];
    log->access_log = open_access_log();
    if (log->access_log < 0) {
        return -1;
    }
    log->size = LINE_SIZE;
    log->line = malloc(log->size);
    if (log->line == NULL || pipe2(ends, O_CLOEXEC) < 0 || io_set_nonblocking(ends[1], true) < 0) {
        return log_failure("nginx's log: %m");
    }
    log->output = ends[1];
    log->input = fdopen(ends[0], "r");
    errno = log->input == NULL ? errno : pthread_create(&log->thread, NULL, relay, log);
    return errno != 0 ? log_failure("nginx's log: %m") : 0;
}

void nginx_log_end(struct nginx_log *log)
{
    struct timespec deadline;
    close_fd(&log->output);
    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += END_PATIENCE_SEC;
    if (pthread_timedjoin_np(log->thread, NULL, &deadline) == 0) {
        free(log->line);
        (void)fclose(log->input);
    }
}

/*
 * What our nginx writes to standard error: its error log, and its access log if that is a pipe, a
 * socket or a terminal. nginx would wait for the reader of such a log. So it writes to a pipe of
 * ours, which does not block, and a thread passes the lines on, or counts them as dropped.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

/* For `access_log`: nginx's own standard error (an empty name, ngx_conf_open_file()), which it
 * keeps when it opens its logs again. */
#define NGINX_LOG_STDERR "\"\""

struct nginx_log {
    FILE *input;    /* the read end of the pipe */
    int output;     /* the other end, which nginx gets by fork(2) */
    int access_log; /* where lines of the access log go; the others go to standard error */
    char *line;     /* the one that is passed on, in `size` bytes */
    size_t size;
    pthread_t thread;
};

/* Whether we write the access log with this absolute path. */
bool nginx_log_is_ours(const char *path);

/* Opens the pipe and the access log that SANDBOX_ACCESS_LOG names, and starts the thread, which
 * must have all signals blocked that the caller waits for. 0, or -1 after one line. */
int nginx_log_start(struct nginx_log *log);

/* Waits, but not long, until all lines of an nginx that has ended are out, even if a process still
 * holds the pipe. */
void nginx_log_end(struct nginx_log *log);

/*
 * A real procd for a test: its own run directory, its listening socket made here and kept over
 * restarts as the launcher does, and the client library pointed at it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "procd/wire/client.h"

#define DEADLINE_MS 20000

struct procd_fixture {
    char run[64];
    int listener;
    pid_t pid; /* 0 while it is down */
};

extern struct procd_fixture procd;

/* cmocka group fixtures. The binary is procd in $SANDBOX_BIN, or in bin. */
int procd_setup(void **state);
int procd_teardown(void **state);

void procd_launch(void);
void procd_end(int signal);

/* Runs a command to its end. Fails the test when it cannot be started. */
struct output {
    char *out, *err; /* NUL-terminated; release with output_free */
    size_t out_length, err_length;
    struct ending ending;
};
struct output run(const char *cmd);
struct output run_command(const struct command *command);
void output_free(struct output *output);

/* Waits for a descriptor to become readable; fails the test at the deadline. */
void await_readable(int fd);

/* Polls `is_so(context)` until it holds; fails the test at the deadline. */
void await(bool (*is_so)(const void *context), const void *context);

bool process_is_gone(const void *pid); /* pid_t * */
bool file_exists(const void *path);    /* char * */

/* The whole log of a job, segments joined; NUL-terminated, the caller frees it. */
char *read_log(const char *id, size_t *length);
void await_job_end(const char *id);
struct job find_job(const char *id); /* .command is "", id empty when there is none */

/* procd_kill with SIGKILL. */
enum procd_result kill_job(const char *id, enum job_status *status);

/*
 * The size of a job's terminal, and its file (job_files.h), which the runner writes over in place
 * whenever somebody sets the size: who follows the directory is woken.
 *
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct incoming;
struct message;

/* What the kernel takes is 16 bits each. */
#define TERMINAL_SIZE_MAX 65535

struct terminal_size {
    int cols, rows; /* 1 to TERMINAL_SIZE_MAX */
    int64_t set_by; /* a number that whoever set it has chosen; 0: the start of the job, or a call
                       of the API */
};

/* Appends its three fields, and reads them. False when there is no size, or none that is valid. */
void terminal_size_describe(const struct terminal_size *size, struct message *message);
bool terminal_size_of(const struct incoming *message, struct terminal_size *size);

/* Makes the file. Its descriptor, for terminal_size_update and owned by the caller, or -1 with
 * errno. */
int terminal_size_create(int directory, const struct terminal_size *size);

/* Writes over it by one pwrite(2). 0, or -1 with errno. */
int terminal_size_update(int fd, const struct terminal_size *size);

/* 0, or -1 with errno: ENOENT when the job has no terminal, EBADMSG for a damaged file. */
int terminal_size_read(int directory, struct terminal_size *size);

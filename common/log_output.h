/*
 * Writes lines of a log to a descriptor without ever waiting for its reader: a line that a pipe,
 * socket or terminal has no room for is not written. Such a descriptor usually shares its open file
 * description, and with it O_NONBLOCK, with other programs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A longer line may be torn in a pipe. */
#define LOG_OUTPUT_LINE_MAX 4096

/*
 * Writes the whole line. 0, or -1 with errno: EAGAIN if that would wait; a pipe without a reader
 * raises SIGPIPE. Lines of up to LOG_OUTPUT_LINE_MAX bytes are never torn, but in a terminal.
 * Thread-safe.
 */
int log_output_write(int fd, const char *line, size_t length);

/* Whether a reader of this file (fstat(2), or stat(2)) can keep its writers waiting: a pipe, a
 * socket or a terminal. */
struct stat;
bool log_output_has_reader(const struct stat *file);

/*
 * Gives the descriptor an open file description of its own, which does not block, and a large
 * buffer if it is a pipe: for programs that do not write by log_output_write(). Where that is
 * impossible (a socket, another user's pipe) the descriptor stays as it is.
 */
void log_output_detach(int fd);

/*
 * Writing lines of a log to a descriptor without ever waiting for its reader: to a pipe, socket or
 * terminal that takes no more a line is not written. Such a descriptor mostly shares its open file
 * description, and with it O_NONBLOCK, with programs that are not ours.
 */
#ifndef COMMON_LOG_OUTPUT_H
#define COMMON_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/* What is longer may be torn in a pipe. */
#define LOG_OUTPUT_LINE_MAX 4096

/*
 * Writes the line, all of it. 0, or -1 with errno: EAGAIN if that would wait; a pipe without a
 * reader raises SIGPIPE. Keeps a line whole up to LOG_OUTPUT_LINE_MAX bytes, but may leave a part
 * in a terminal. Thread-safe.
 */
int log_output_write(int fd, const char *line, size_t length);

/* Whether a reader of this file (fstat(2), or stat(2)) can keep its writers waiting: a pipe, a
 * socket or a terminal. */
struct stat;
bool log_output_has_reader(const struct stat *file);

/*
 * Gives the descriptor an open file description of its own, which does not block, and a large
 * buffer if it is a pipe: for programs that write to it without log_output_write(). Where that
 * cannot be (a socket, another user's pipe) it stays as it is.
 */
void log_output_detach(int fd);

#endif

/*
 * What the daemons say about themselves: one line to standard error for each event, written by one
 * write(2) so that lines of threads never mix. Control characters in arguments are replaced, so
 * that a client cannot forge a line. Never log a secret, a command, an environment value or file
 * content.
 */
#ifndef COMMON_LOGGER_H
#define COMMON_LOGGER_H

/* Names the program in every later line. `name` must live for ever. Call once, before threads. */
void logger_open(const char *name);

/* "name: message\n". Thread-safe, keeps errno. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/* "name: [request id] message\n"; `request_id` may be NULL. Thread-safe, keeps errno. */
__attribute__((format(printf, 2, 3))) void log_request(const char *request_id, const char *format,
                                                       ...);

#endif

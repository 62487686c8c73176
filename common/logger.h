/*
 * The log of the programs: one line to standard error for each event, written by one write(2), so
 * that lines of threads never mix. Control characters in arguments are replaced, so that a client
 * cannot forge a line. No program waits for the reader of its log: a line that cannot be written at
 * once is dropped and counted (log_drops.h). Never log a secret, a command, an environment value,
 * output or file content.
 *
 *   name: [request id] message             an error
 *   name: warning: [request id] message    notice, info and debug likewise
 *   <4>name: [request id] message          any level, to the journal (sd-daemon(3))
 *
 * Levels are those of syslog(3): LOG_ERR keeps a program or a request from going on; LOG_WARNING
 * is out of the ordinary and may need an operator; LOG_NOTICE is worth knowing, and rare; LOG_INFO
 * is the ordinary course, a line a command; LOG_DEBUG helps to find a fault.
 */
#pragma once

#include <stddef.h>
#include <syslog.h>

/* Longer ones are cut; nginx lets none pass (nginx/snippets/http.conf). With its NUL. */
#define REQUEST_ID_SIZE 129

/* Names the program in every later line, and finds out whether standard error is the journal.
 * `name` must live for ever. Call once, before threads. */
void logger_open(const char *name);

/* From now on nothing less severe than `level` is logged; before, LOG_NOTICE is the least. Call
 * before threads. */
void logger_set_level(int level);

/* All lines from now on concern this request (copied; NULL: none in particular), in a program that
 * does one thing at a time. */
void logger_set_request(const char *request_id);

/* About one request; NULL or empty: as logger_set_request() says. Thread-safe; keeps errno. */
__attribute__((format(printf, 3, 4))) void log_request(int level, const char *request_id,
                                                       const char *format, ...);

#define log_at(level, ...) log_request(level, NULL, __VA_ARGS__)
#define log_line(...)      log_at(LOG_ERR, __VA_ARGS__) /* an error */

/* The same for a function that fails: -1. */
#define log_failure(...) (log_line(__VA_ARGS__), -1)

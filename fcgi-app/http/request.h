/*
 * One HTTP request and its answer, as endpoints see them. fcgi.c implements it with libfcgi. A
 * request belongs to the thread that handles it.
 *
 * When a write has failed (the client or nginx left), every later write fails: handlers check, stop
 * and return. A handler that returns without having begun an answer has a bug; the client gets what
 * answer_lost() says.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct api_endpoint;
struct outlet;
struct request;

/* ---- the question; strings are borrowed until the handler returns, never NULL ---- */

const char *request_method(const struct request *request);

/* Decoded and normalised by nginx ($uri). */
const char *request_path(const struct request *request);

const char *request_query(const struct request *request);

/* A parameter of nginx/snippets by its name, such as "HTTP_LAST_EVENT_ID"; "" when it was not sent.
 */
const char *request_param(const struct request *request, const char *name);

/* For the log; made or checked by nginx. */
const char *request_id(const struct request *request);

/* The endpoint that is asked; NULL: there is no such. */
const struct api_endpoint *request_endpoint(const struct request *request);

/*
 * Reads the body piece by piece: bytes read, 0 at its end, -1 when it was cut (the client left;
 * no one waits for an answer).
 */
ssize_t request_read(struct request *request, void *data, size_t length);

/*
 * The connection to nginx, for poll(2) with POLLRDHUP beside the source of an answer (read the body
 * first): POLLHUP, POLLRDHUP or POLLERR say that the client left.
 */
int request_fd(const struct request *request);

/* Whether the client has left, asked now, without waiting. */
bool request_gone(struct request *request);

/* ---- the answer ---- */

/*
 * Writes status and headers. `headers` is NULL or further header lines, each with its \r\n.
 * 0, or -1 when the client left.
 */
int request_begin(struct request *request, int status, const char *content_type,
                  const char *headers);

/* Appends to the body, buffered up to 8 KiB; large pieces go out without a copy. 0 or -1. */
int request_write(struct request *request, const void *data, size_t length);

/* Sends what is buffered. 0 or -1. */
int request_flush(struct request *request);

/*
 * Drops the connection without ending the answer, so that the client sees it was cut (a streamed
 * JSON answer must never look whole when it is not).
 */
void request_abort(struct request *request);

/*
 * Takes the begun answer of a long-running request away from this thread: the rest of it goes
 * through `outlet`, from any one thread, and ends with outlet_close(). The handler returns at once
 * and does not touch the request again. 0, or -1 when the client left.
 */
int request_detach(struct request *request, struct outlet *outlet);

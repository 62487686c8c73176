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

struct body_parts; /* body_parts.h */
struct outlet;
struct request;

/* ---- the question; strings are borrowed until the handler returns, never NULL ---- */

const char *request_method(const struct request *request);

/* Decoded and normalised by nginx ($uri). */
const char *request_path(const struct request *request);

const char *request_query(const struct request *request);

/* A parameter of nginx/snippets by its name, such as "HTTP_RANGE"; "" when it was not sent. */
const char *request_param(const struct request *request, const char *name);

/* Whether the request changes nothing: its endpoint only reads, or its method does (GET, HEAD). */
bool request_only_reads(const struct request *request);

/* For the log; made or checked by nginx. */
const char *request_id(const struct request *request);

/*
 * Reads the body piece by piece: bytes read, 0 at its end, -1 when it was cut (the client left;
 * no one waits for an answer).
 */
ssize_t request_read(struct request *request, void *data, size_t length);

/* The same in fewer calls, for a large body: *parts says where it lies in `buffer`. The sum of the
 * parts, or as above. */
ssize_t request_read_parts(struct request *request, char *buffer, size_t size,
                           struct body_parts *parts);

/* How many bytes the body has; UINT64_MAX where that is not announced. */
uint64_t request_body_length(const struct request *request);

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

/* Has the answer say so, when it begins: a header line with its \r\n, static. One at most. */
void request_note(struct request *request, const char *header);

/* Appends to the body, buffered up to 8 KiB; large pieces go out without a copy. 0 or -1. */
int request_write(struct request *request, const void *data, size_t length);

/*
 * Appends `length` bytes of a file from `offset` on, without a copy, after what is buffered. 0, or
 * -1 when the client left, or the file gave fewer bytes than that: then the answer has been cut.
 */
int request_write_file(struct request *request, int file, off_t offset, uint64_t length);

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

/*
 * The FastCGI server's side of a connection: reads requests by libfcgi and hands each to dispatch.
 * What endpoints see of a request is in request.h.
 */
#pragma once

#include <stdbool.h>

struct api_endpoint;
struct request;

/*
 * Must run with SIGTERM and SIGINT blocked, before any thread; it ignores SIGPIPE. `serve` serves a
 * request to its end, with request_finish(), in the thread of its connection. `give_back` takes the
 * connection of a detached request over at its end. 0, or -1 with errno.
 */
int fcgi_init(void (*serve)(struct request *request, bool refuse),
              void (*give_back)(int fd, bool reuse));

/* Serves one request of a connection, which must have begun to come. False when the connection is
 * not ours any more: it was closed, or the request detached. */
bool fcgi_serve_request(int fd);

/* Refuses the next request of a connection, if it comes within a second, and closes it. */
void fcgi_refuse_request(int fd);

/* ---- for dispatch ---- */

/* Says which endpoint is asked, NULL for none, and begins to measure the request. */
void request_set_endpoint(struct request *request, const struct api_endpoint *endpoint);

/* Whether a body was announced. */
bool request_has_body(const struct request *request);

/* Whether an answer was begun, cut or detached. */
bool request_is_answered(const struct request *request);

/*
 * Ends the answer. The connection is kept if `keep`, and if the body could be read to its end.
 * False when the request was detached, so that it is not over yet.
 */
bool request_finish(struct request *request, bool keep);

/*
 * Server-sent events to a client: one `event:` line, one `data:` line with a JSON object, one empty line.
 */
#ifndef FCGI_APP_SSE_H
#define FCGI_APP_SSE_H

#include <stdarg.h>

#include "common/line_reader.h"

struct cJSON;
struct request;

/* A comment goes out after this much silence, so that nothing between here and the client gives up. */
#define SSE_KEEPALIVE_MS 10000

/* Status 200, text/event-stream, no caching, no proxy buffering; flushed. 0, or -1 when the client left. */
int sse_begin(struct request *request);

/* One event with `data` (owned: deleted here). Buffered. 0 or -1. */
int sse_event(struct request *request, const char *event, struct cJSON *data);

/* event: output with {"stream": <stream>, "data": <line>}. Buffered. 0 or -1. */
int sse_output(struct request *request, const char *stream, const struct line *line);

/* event: error with {"error": <message>}; flushed. 0 or -1. */
__attribute__((format(printf, 2, 3))) int sse_error(struct request *request, const char *format, ...);

/* ":keepalive\n\n"; flushed. 0 or -1. */
int sse_keepalive(struct request *request);

#endif

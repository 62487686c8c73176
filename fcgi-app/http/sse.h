/*
 * Server-sent events to a client. An event is one `event:` line, one `data:` line with a JSON
 * object, an `id:` line if it has an id, and one empty line. The id comes last, because some
 * clients note it before the event is whole (procd/log/job_files.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "api/errors.h"
#include "common/line_reader.h"

struct answer_field;
struct request;
struct writer;

/*
 * Remembers after how much silence a comment is sent, so that no proxy on the way gives the
 * connection up. Call once, before threads.
 */
void sse_init(uint64_t keepalive_ms);
int64_t sse_keepalive_ms(void);

/* That comment. It has no empty line of its own, because some clients take one for the end of an
 * event without data. */
#define SSE_KEEPALIVE ":keepalive\n"

/* Status 200, text/event-stream, no caching, no proxy buffering; flushed. It names the charset,
 * because some clients take text without one for Latin-1. 0, or -1 when the client has left. */
int sse_begin(struct request *request);

/* How soon, in ms, a client that has lost a stream comes again. Begins the first event, because
 * some clients make an event of it where it stands alone. */
#define SSE_RETRY "retry: 1000\n"

/* Renders an event of at most SSE_SHORT_SIZE - 1 bytes. `id` is NULL for none, `format` makes its
 * data, which is JSON. Returns its length. Thread-safe. */
#define SSE_SHORT_SIZE ((size_t)256)
__attribute__((format(printf, 4, 5))) size_t sse_short(char text[SSE_SHORT_SIZE], const char *id,
                                                       const char *event, const char *format, ...);

/* One event, whose data is an object of these members (writer.h); flushed. `id` is NULL for none.
 * An error that stays when the client comes back has an id of the end (procd/log/event_id.h). 0, or
 * -1 when the client has left. */
int sse_event(struct request *request, const char *id, const char *event,
              const struct answer_field *fields);

/* event: error with {"error": <message>, "error_code": <error>}, as sse_event. */
__attribute__((format(printf, 4, 5))) int sse_error(struct request *request, const char *id,
                                                    enum api_error error, const char *format, ...);

/* event: output with {"stream": <stream>, "data": <line>}, and "continued": true if more of the
 * line follows, into the writer's buffer. 0, -1 when the
 * client has left, or -2 with errno when the line could not be read back. */
int sse_output(struct writer *writer, int64_t id, const char *stream, const struct line *line);

/* SSE_KEEPALIVE; flushed. 0 or -1. */
int sse_keepalive(struct request *request);

/*
 * The pump of a foreground command: waits for its output, its end, its client and the server's stop
 * together, so that none of them can hold up another.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "procd/wire/client.h"

struct request;

/* How long a command has, in ms, when this server stops before it has ended; at first 0: none. */
void pump_init(uint64_t stop_grace_ms);

enum pump_stream { PUMP_STDOUT, PUMP_STDERR };

/* Where the output goes. A function that returns -1 stops the pump with PUMP_REFUSED. */
struct pump_sink {
    int (*data)(void *context, enum pump_stream stream, const char *data, size_t length);
    int (*rest)(void *context); /* for now that is all; 1 when it sent something; may be NULL */
    /* When `rest` must be called though nothing has come: ms of the monotonic clock, INT64_MAX:
     * never. May be NULL where there is no `silence`. */
    int64_t (*due)(const void *context);
    int (*silence)(void *context); /* nothing was sent for sse_keepalive_ms(); may be NULL */
};

enum pump_result {
    PUMP_ENDED,    /* the command has, and all its output is in the sink */
    PUMP_GONE,     /* the client left */
    PUMP_STOPPING, /* the server stops; the command got a SIGTERM */
    PUMP_REFUSED,  /* the sink did */
    PUMP_FAILED,   /* errno says why */
};

/*
 * Runs until one of these. The end of a command is its exit: what a descendant writes to the pipes
 * later is not waited for, beyond 100 ms. Output written before the exit is never lost.
 */
enum pump_result pump_run(struct foreground *foreground, struct request *request,
                          const struct pump_sink *sink, void *context, struct ending *ending);

/* The same, but the runner is not given to the client's next command: pump_keep_runner() does that
 * when it is time. */
enum pump_result pump_to_end(struct foreground *foreground, struct request *request,
                             const struct pump_sink *sink, void *context, struct ending *ending);
void pump_keep_runner(struct foreground *foreground, const struct ending *ending);

/* Makes a command end that has not, and waits as foreground_end() does. *ending is its end if that
 * is reported; otherwise it is lost. */
void pump_await_end(struct foreground *foreground, struct ending *ending);

/*
 * What the client reads after a result other than PUMP_ENDED; NULL: nothing, it has left.
 * `sink_error`: errno of what failed in the sink, 0 when it was the client that left.
 */
const char *pump_failure(enum pump_result result, int sink_error);

/*
 * Closes what is open of a foreground command. One that has not ended is made to end: then this
 * waits until its tree is gone, so that its place is not given to another before, or until the
 * server stops. For cleanup_().
 */
void foreground_end(struct foreground *foreground);

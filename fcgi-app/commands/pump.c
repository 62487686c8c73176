/*
 * One poll(2) over everything that can happen to a foreground command.
 */
#include "fcgi-app/commands/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/error_text.h"
#include "common/io.h"
#include "common/pipe_order.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/http/stopping.h"

#define CHUNK          ((size_t)65536) /* the capacity of a pipe at first */
#define READS_PER_TURN 4               /* then the client and the end are looked at */
#define PIPE_SIZE      1048576 /* for a pipe that was found full; what an ordinary user may have */
#define LINGER_MS      100     /* how long to wait for pipes that a descendant holds */
#define KILL_MS        12000   /* a runner gives up on a tree after 10 s */

enum { OUT, ERR, LEASE, CLIENT, STOP, POLLED };

static uint64_t stop_grace;

void pump_init(uint64_t stop_grace_ms)
{
    stop_grace = stop_grace_ms;
}

struct pump {
    const struct pump_sink *sink;
    void *context;
    char *buffer;      /* CHUNK bytes */
    bool refused;      /* by the sink */
    int64_t last_sent; /* ms */
    struct pollfd polled[POLLED];
    int *pipes[2]; /* in the foreground; -1 when closed */
    struct pipe_order order;
    bool widened[2]; /* the pipe was found full and made larger */
};

/* Waits until the runner reports the end of the tree, or the server stops. */
static void await_tree(const struct foreground *foreground)
{
    struct pollfd polled[] = {{.fd = foreground->lease, .events = POLLIN},
                              {.fd = stopping_fd(), .events = POLLIN}};
    int64_t deadline = clock_monotonic_ms() + (int64_t)foreground->grace_ms + KILL_MS;
    while (polled[0].revents == 0 && polled[1].revents == 0) {
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0 || io_poll(polled, 2, (int)left) == 0) {
            return;
        }
    }
}

void pump_await_end(struct foreground *foreground, struct ending *ending)
{
    *ending = (struct ending){.lost = true, .code = -1, .reason = END_LOST};
    close_fd(&foreground->out);
    close_fd(&foreground->err);
    close_fd(&foreground->watch);
    if (foreground->lease >= 0 && !foreground->ended && shutdown(foreground->lease, SHUT_WR) == 0) {
        await_tree(foreground);
        (void)foreground_ending(foreground->lease, ending);
    }
    foreground->ended = true; /* or it takes too long */
}

void foreground_end(struct foreground *foreground)
{
    struct ending ending;
    pump_await_end(foreground, &ending);
    close_fd(&foreground->lease);
}

static void close_pipe(struct pump *pump, int stream)
{
    close_fd(pump->pipes[stream]);
    pump->polled[stream].fd = -1; /* which poll(2) passes over */
}

/* Reads once into the sink. 1; 0 when there is nothing for now; -1 when the sink refused or (with
 * errno) a pipe failed. */
static int pass_on(struct pump *pump)
{
    int stream;
    ssize_t count = pipe_order_read(&pump->order, pump->buffer, CHUNK, &stream);
    if (count < 0) {
        return errno == EAGAIN ? 0 : -1;
    }
    if (count == 0) {
        close_pipe(pump, stream);
        return 1;
    }
    if (count == (ssize_t)CHUNK && !pump->widened[stream]) {
        pump->widened[stream] = true;
        /* The command writes faster than we read: fewer, larger pieces. A refusal does no harm. */
        (void)fcntl(*pump->pipes[stream], F_SETPIPE_SZ, PIPE_SIZE);
    }
    const struct pump_sink *sink = pump->sink;
    pump->refused =
        sink->data(pump->context, (enum pump_stream)stream, pump->buffer, (size_t)count) < 0;
    return pump->refused ? -1 : 1;
}

/* What the last poll(2) found in the pipes, but not without end. 0 or -1, as pass_on. */
static int read_pipes(struct pump *pump)
{
    int result = 1;
    pipe_order_wake(&pump->order, pump->polled + OUT);
    for (int reads = 0; reads < READS_PER_TURN && result > 0; reads++) {
        result = pass_on(pump);
    }
    return result < 0 ? -1 : 0;
}

/* After the command's end: all that it has written. 0 or -1, as pass_on. */
static int drain(struct pump *pump)
{
    int64_t left;
    int64_t deadline = clock_monotonic_ms() + LINGER_MS;
    do {
        if (read_pipes(pump) < 0) {
            return -1;
        }
        left = deadline - clock_monotonic_ms();
    } while ((pump->polled[OUT].fd >= 0 || pump->polled[ERR].fd >= 0) && left > 0 &&
             io_poll(pump->polled, LEASE, (int)left) > 0);
    /* A descendant keeps a pipe: what is in it now was written before the end, or soon after. */
    int result;
    pipe_order_finish(&pump->order);
    while ((result = pass_on(pump)) > 0) {
    }
    return result;
}

static enum pump_result failure(const struct pump *pump)
{
    return pump->refused ? PUMP_REFUSED : PUMP_FAILED;
}

/* Waits for anything, or until the sink has something due; while nothing is sent the client gets a
 * sign of life now and then. False when it does not take that. */
static bool wait_for_events(struct pump *pump)
{
    const struct pump_sink *sink = pump->sink;
    while (sink->silence != NULL) {
        int64_t left = pump->last_sent + sse_keepalive_ms() - clock_monotonic_ms();
        if (left <= 0) {
            pump->last_sent = clock_monotonic_ms();
            left = sse_keepalive_ms();
            pump->refused = sink->silence(pump->context) < 0;
            if (pump->refused) {
                return false;
            }
        }
        int64_t due = sink->due(pump->context) - clock_monotonic_ms();
        int64_t wait = due < left ? due : left;
        if (io_poll(pump->polled, POLLED, wait > 0 ? (int)wait : 0) > 0 || due <= left) {
            return true;
        }
    }
    (void)io_poll(pump->polled, POLLED, -1);
    return true;
}

/* Passes on that for now this is all. */
static int rest(struct pump *pump)
{
    int sent = pump->sink->rest == NULL ? 0 : pump->sink->rest(pump->context);
    if (sent > 0) {
        pump->last_sent = clock_monotonic_ms();
    }
    pump->refused = sent < 0;
    return sent;
}

/* One round. True to go on, false with *result. */
static bool turn(struct pump *pump, struct ending *ending, enum pump_result *result)
{
    if (!wait_for_events(pump)) {
        *result = failure(pump);
        return false;
    }
    if (pump->polled[CLIENT].revents != 0) {
        *result = PUMP_GONE;
        return false;
    }
    bool ended =
        pump->polled[LEASE].revents != 0 && foreground_ending(pump->polled[LEASE].fd, ending) == 1;
    /* Commands end before a server that stops: an end that is here already is the answer. */
    if (pump->polled[STOP].revents != 0 && (!ended || ending->lost)) {
        *result = PUMP_STOPPING;
        return false;
    }
    if ((ended ? drain(pump) : read_pipes(pump)) < 0 || rest(pump) < 0) {
        *result = failure(pump);
        return false;
    }
    *result = PUMP_ENDED;
    return !ended;
}

static enum run_outcome outcome_of(enum pump_result result, const struct ending *ending,
                                   struct request *request)
{
    if (result != PUMP_ENDED) {
        bool ours = result == PUMP_FAILED || (result == PUMP_REFUSED && !request_gone(request));
        return ours ? RUN_FAILED : RUN_CANCELLED;
    }
    if (ending->lost) {
        return RUN_RUNNER_LOST;
    }
    switch (ending->reason) {
    case END_SIGNAL: return RUN_SIGNALLED;
    case END_KILLED: return RUN_KILLED;
    case END_TIMEOUT: return RUN_TIMED_OUT;
    case END_OOM: return RUN_OUT_OF_MEMORY;
    default: return RUN_EXITED;
    }
}

void pump_keep_runner(struct foreground *foreground, const struct ending *ending)
{
    if (foreground->ended && !ending->lost && !ending->left_children) {
        foreground_keep_runner(&foreground->lease);
    }
}

enum pump_result pump_run(struct foreground *foreground, struct request *request,
                          const struct pump_sink *sink, void *context, struct ending *ending)
{
    enum pump_result result = pump_to_end(foreground, request, sink, context, ending);
    int error = errno;
    pump_keep_runner(foreground, ending); /* before the answer, which a client may read slowly */
    errno = error;
    return result;
}

enum pump_result pump_to_end(struct foreground *foreground, struct request *request,
                             const struct pump_sink *sink, void *context, struct ending *ending)
{
    cleanup_free char *buffer = malloc(CHUNK);
    if (buffer == NULL) {
        metrics_run(RUN_FAILED);
        return PUMP_FAILED;
    }
    struct pump pump = {
        .sink = sink,
        .context = context,
        .buffer = buffer,
        .last_sent = clock_monotonic_ms(),
        .polled = {[OUT] = {.fd = foreground->out, .events = POLLIN},
                   [ERR] = {.fd = foreground->err, .events = POLLIN},
                   [LEASE] = {.fd = foreground->lease, .events = POLLIN},
                   [CLIENT] = {.fd = request_fd(request), .events = POLLRDHUP},
                   [STOP] = {.fd = stopping_fd(), .events = POLLIN}},
        .pipes = {&foreground->out, &foreground->err},
    };
    const int pipes[] = {foreground->out, foreground->err};
    pipe_order_init(&pump.order, foreground->watch, pipes);
    enum pump_result result;
    while (turn(&pump, ending, &result)) {
    }
    int error = errno;
    foreground->ended = result == PUMP_ENDED;
    if (result == PUMP_STOPPING && stop_grace > 0) {
        foreground_leave(foreground->lease, stop_grace);
    }
    metrics_run(outcome_of(result, ending, request));
    errno = error;
    return result;
}

const char *pump_failure(enum pump_result result, int sink_error)
{
    switch (result) {
    case PUMP_STOPPING: return "The server is stopping; the command was ended";
    case PUMP_REFUSED: return sink_error == 0 ? NULL : error_text(sink_error);
    case PUMP_FAILED: return error_text(errno);
    default: return NULL;
    }
}

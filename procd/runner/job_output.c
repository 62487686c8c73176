/*
 * Reads are in the order of pipe_order.h; each goes to the line reader of its stream.
 */
#include "procd/runner/job_output.h"

#include <errno.h>

#include "common/cleanup.h"
#include "common/clock.h"

#define READ_MAX       ((size_t)65536)
#define READS_PER_TURN 32

static char buffer[READ_MAX]; /* a runner has one job and one thread */

void job_output_open(struct job_output *output, struct command_pipes *pipes, struct job_log *log,
                     int directory, int64_t patience_ms)
{
    *output = (struct job_output){.log = log, .watch = steal_fd(&pipes->watch)};
    job_stream_open(&output->streams[0], steal_fd(&pipes->out_read), "stdout", log, directory);
    job_stream_open(&output->streams[1], steal_fd(&pipes->err_read), "stderr", log, directory);
    output->streams[0].reader.patience_ms = output->streams[1].reader.patience_ms = patience_ms;
    const int fds[] = {output->streams[0].fd, output->streams[1].fd};
    pipe_order_init(&output->order, output->watch, fds);
}

int job_output_patience(const struct job_output *output, int wait_ms)
{
    int64_t first = output->streams[0].reader.due_ms, second = output->streams[1].reader.due_ms;
    int64_t due_ms =
        first == LINE_NEVER_DUE || (second != LINE_NEVER_DUE && second < first) ? second : first;
    if (due_ms == LINE_NEVER_DUE) {
        return wait_ms;
    }
    int64_t left = due_ms - clock_monotonic_ms();
    left = left > 0 ? left : 0;
    return wait_ms < 0 || left < wait_ms ? (int)left : wait_ms;
}

void job_output_serve(struct job_output *output)
{
    if (job_output_patience(output, -1) == 0) {
        job_stream_serve(&output->streams[0]);
        job_stream_serve(&output->streams[1]);
        job_log_flush(output->log);
    }
}

bool job_output_is_open(const struct job_output *output)
{
    return output->streams[0].fd >= 0 || output->streams[1].fd >= 0;
}

/* Reads once. False when there is nothing for now. */
static bool read_once(struct job_output *output)
{
    int stream;
    ssize_t length = pipe_order_read(&output->order, buffer, sizeof(buffer), &stream);
    if (length < 0 && errno == EAGAIN) {
        return false;
    }
    if (length > 0) {
        output->last = stream;
        job_stream_feed(&output->streams[stream], buffer, (size_t)length);
        return true;
    }
    if (length < 0) {
        job_stream_lose_line(&output->streams[stream]);
    }
    close_fd(&output->streams[stream].fd);
    return true;
}

void job_output_read(struct job_output *output, const struct pollfd polled[2])
{
    pipe_order_wake(&output->order, polled);
    for (int reads = 0; reads < READS_PER_TURN && read_once(output); reads++) {
    }
    job_log_flush(output->log);
}

void job_output_finish(struct job_output *output)
{
    pipe_order_finish(&output->order);
    while (read_once(output)) {
    }
    /* The line that was written to last ends last. */
    job_stream_end(&output->streams[1 - output->last]);
    job_stream_end(&output->streams[output->last]);
}

void job_output_leave(struct job_output *output, int pipes[2])
{
    close_fd(&output->watch);
    pipes[0] = steal_fd(&output->streams[0].fd);
    pipes[1] = steal_fd(&output->streams[1].fd);
}

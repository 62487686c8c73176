#include "fcgi-app/streams/delivery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/errors.h"
#include "common/clock.h"
#include "common/logger.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/streams/stream_source.h"

/* The event in the buffer comes next. */
static enum progress set_event(struct delivery *delivery, size_t length, bool is_last)
{
    delivery->event_sent = 0;
    delivery->event_length = length;
    delivery->ending = is_last;
    return PROGRESS_MORE;
}

/* What is no event of its own comes next. */
static void set_text(struct delivery *delivery, const char *text)
{
    (void)set_event(delivery, (size_t)snprintf(delivery->event, SSE_SHORT_SIZE, "%s", text), false);
}

static enum progress set_last_error(struct delivery *delivery, enum api_error error,
                                    const char *message)
{
    size_t length =
        sse_short(delivery->event, NULL, "error", "{\"error\":\"%s\",\"error_code\":\"%s\"}",
                  message, api_error_code(error));
    return set_event(delivery, length, true);
}

/* Half an event cannot be followed by another: then the answer is cut. */
static enum progress delivery_fail(struct delivery *delivery)
{
    const struct stream_source *source = delivery->source;
    log_request(LOG_ERR, delivery->request_id, "%s: %m", source->name);
    return !source->is_answer && source->is_between_events(source)
               ? set_last_error(delivery, ERROR_internal, source->failure)
               : PROGRESS_CUT;
}

/* *sent is less than `length` when the connection is full. */
static enum progress send_bytes(struct delivery *delivery, const char *data, size_t length,
                                size_t *sent)
{
    ssize_t count = outlet_send(&delivery->outlet, data, length);
    *sent = count < 0 ? 0 : (size_t)count;
    if (count < 0) {
        return PROGRESS_CUT;
    }
    delivery->last_sent = clock_monotonic_ms();
    return *sent < length ? PROGRESS_FULL : PROGRESS_MORE;
}

static enum progress send_end(struct delivery *delivery)
{
    admission_leave(&delivery->admission); /* a client that sees the end may open the next stream */
    int ended = outlet_end(&delivery->outlet);
    return ended < 0 ? PROGRESS_CUT : ended == 0 ? PROGRESS_FULL : PROGRESS_WHOLE;
}

static enum progress send_next(struct delivery *delivery, char *buffer, size_t size,
                               bool is_stopping)
{
    struct stream_source *source = delivery->source;
    struct stream_output output = {.bytes = buffer, .size = size, .event = delivery->event};
    if (is_stopping && !source->is_answer && source->is_between_events(source) &&
        !source->is_complete(source)) {
        return set_last_error(delivery, ERROR_stopping, "The server is stopping");
    }
    enum stream_next next = source->next(source, &output);
    if (next == STREAM_BYTES) {
        size_t sent;
        if (source->is_answer) {
            delivery->outlet.measured.status = source->status;
        }
        enum progress progress = send_bytes(delivery, output.bytes, output.length, &sent);
        source->unread(source, output.length - sent);
        return progress;
    }
    if (next == STREAM_EVENT || next == STREAM_LAST_EVENT) {
        return set_event(delivery, output.length, next == STREAM_LAST_EVENT);
    }
    delivery->due = output.due;
    return next == STREAM_NOTHING ? PROGRESS_NOTHING
           : next == STREAM_LATER ? PROGRESS_LATER
                                  : delivery_fail(delivery);
}

enum progress delivery_step(struct delivery *delivery, char *buffer, size_t size, bool is_stopping)
{
    if (delivery->event_sent == delivery->event_length) {
        return delivery->ending ? send_end(delivery)
                                : send_next(delivery, buffer, size, is_stopping);
    }
    size_t sent;
    enum progress progress = send_bytes(delivery, delivery->event + delivery->event_sent,
                                        delivery->event_length - delivery->event_sent, &sent);
    delivery->event_sent += sent;
    return progress;
}

bool delivery_interject(struct delivery *delivery, const char *text)
{
    /* Nothing may come between the halves of an event. */
    if (delivery->source->is_answer || !delivery->source->is_between_events(delivery->source) ||
        delivery->event_sent < delivery->event_length || delivery->ending) {
        return false;
    }
    set_text(delivery, text);
    return true;
}

int delivery_begin(struct delivery *delivery, struct request *request, struct stream_source *source,
                   struct admission *admission)
{
    *delivery = (struct delivery){.source = source, .request_id = strdup(request_id(request))};
    if (delivery->request_id == NULL || request_detach(request, &delivery->outlet) < 0) {
        free(delivery->request_id);
        return -1;
    }
    if (!source->is_answer) {
        set_text(delivery, SSE_RETRY);
    }
    delivery->admission = *admission;
    admission->held = false;
    return 0;
}

void delivery_end(struct delivery *delivery, bool whole)
{
    outlet_close(&delivery->outlet, whole);
    waker_forget(&delivery->source->waker);
    delivery->source->free(delivery->source);
    admission_leave(&delivery->admission);
    free(delivery->request_id);
}

/*
 * GET /ports_streaming: first all that listens, in one event, and then each change. A client that
 * comes again gets all of it again, so there is nothing to resume, and the events have no ids.
 *
 * A stream compares what it has told with the table, so a client that reads slowly misses only what
 * has come and gone meanwhile.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/analyzer.h"
#include "common/cleanup.h"
#include "common/error_text.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/sse.h"
#include "fcgi-app/ports/port_table.h"
#include "fcgi-app/ports/port_text.h"
#include "fcgi-app/ports/port_watch.h"
#include "fcgi-app/ports/shared_ports.h"
#include "fcgi-app/streams/streams.h"

#define EVENT_SIZE (PORT_TEXT_SIZE + 32) /* of a port's event, or its part of the first one */

struct port_stream {
    struct stream_source source;
    struct port_list told;
    uint64_t version; /* of the table, when they were in it */
    char *text;       /* events that are to be sent: NULL for none */
    size_t length, sent;
};

static void port_stream_free(struct stream_source *source)
{
    struct port_stream *stream = (struct port_stream *)source;
    port_watch_end();
    port_list_clear(&stream->told);
    free(stream->text);
    free(stream);
}

/* ---- what is to be sent ---- */

/* Room for so many ports. 0, or -1 with errno. */
static int make_text_room(struct port_stream *stream, size_t ports)
{
    stream->text = malloc((ports + 1) * EVENT_SIZE);
    stream->length = stream->sent = 0;
    return stream->text == NULL ? -1 : 0;
}

static void add_text(struct port_stream *stream, const char *text)
{
    size_t length = strlen(text);
    memcpy(stream->text + stream->length, text, length);
    stream->length += length;
}

static void add_port(struct port_stream *stream, const struct port_entry *entry)
{
    stream->length += port_text(entry, stream->text + stream->length);
}

/* 0, or -1 with errno. */
static int add_state(struct port_stream *stream)
{
    if (make_text_room(stream, stream->told.count) < 0) {
        return -1;
    }
    add_text(stream, "event: state\ndata: {\"ports\":[");
    for (size_t i = 0; i < stream->told.count; i++) {
        add_text(stream, i == 0 ? "" : ",");
        add_port(stream, &stream->told.entries[i]);
    }
    add_text(stream, "]}\n\n");
    return 0;
}

static void add_event(struct port_stream *stream, const char *event, const struct port_entry *entry)
{
    add_text(stream, event);
    add_port(stream, entry);
    add_text(stream, "\n\n");
}

#define OPENED "event: opened\ndata: "
#define CLOSED "event: closed\ndata: "

/* Both lists are ordered by their places. */
static void add_changes(struct port_stream *stream, const struct port_list *now)
{
    const struct port_list *before = &stream->told;
    size_t old = 0, new = 0;
    while (old < before->count || new < now->count) {
        const struct port_entry *was = &before->entries[old], *is = &now->entries[new];
        int order = old == before->count ? 1
                    : new == now->count  ? -1
                                         : listening_compare(&was->socket, &is->socket);
        bool is_same = order == 0 && was->socket.inode == is->socket.inode;
        if (order <= 0) {
            old++;
            if (!is_same) {
                add_event(stream, CLOSED, was);
            }
        }
        if (order >= 0) {
            new ++;
            if (!is_same) {
                add_event(stream, OPENED, is);
            }
        }
    }
}

/* 0, or -1 with errno. */
static int take_news(struct port_stream *stream)
{
    cleanup_(port_list_clear) struct port_list now = {0};
    if (port_table_version() == stream->version) {
        return 0;
    }
    if (port_table_copy(&now, &stream->version) < 0 || port_list_mark_shared(&now) < 0) {
        return -1;
    }
    if (make_text_room(stream, stream->told.count + now.count) < 0) {
        return -1;
    }
    add_changes(stream, &now);
    struct port_list before = stream->told;
    stream->told = now;
    now = before;
    return 0;
}

/* ---- the source ---- */

static enum stream_next port_stream_next(struct stream_source *source, struct stream_output *output)
{
    struct port_stream *stream = (struct port_stream *)source;
    if (stream->sent == stream->length) {
        free(stream->text);
        stream->text = NULL;
        stream->length = stream->sent = 0;
        if (take_news(stream) < 0) {
            return STREAM_FAILED;
        }
    }
    size_t left = stream->length - stream->sent;
    output->length = left < output->size ? left : output->size;
    if (output->length == 0) {
        return STREAM_NOTHING;
    }
    memcpy(output->bytes, stream->text + stream->sent, output->length);
    stream->sent += output->length;
    return STREAM_BYTES;
}

static void port_stream_unread(struct stream_source *source, size_t length)
{
    ((struct port_stream *)source)->sent -= length;
}

static bool port_stream_is_between(const struct stream_source *source)
{
    const struct port_stream *stream = (const struct port_stream *)source;
    return stream->sent == stream->length;
}

/* It never ends by itself. */
static bool port_stream_is_complete(const struct stream_source *source)
{
    (void)source;
    return false;
}

/* With what listens now. NULL with errno. */
static struct port_stream *new_stream(void)
{
    struct port_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return NULL;
    }
    stream->source = (struct stream_source){.directory = -1,
                                            .name = "/ports_streaming",
                                            .failure = "The ports cannot be listed",
                                            .next = port_stream_next,
                                            .unread = port_stream_unread,
                                            .is_between_events = port_stream_is_between,
                                            .is_complete = port_stream_is_complete,
                                            .free = port_stream_free};
    port_watch_begin();
    if (port_table_copy(&stream->told, &stream->version) < 0 ||
        port_list_mark_shared(&stream->told) < 0 || add_state(stream) < 0) {
        int error = errno;
        port_stream_free(&stream->source);
        errno = error;
        return NULL;
    }
    return stream;
}

/* ---- the endpoint ---- */

ANALYZER_OFF("-Wanalyzer-malloc-leak") /* port_stream_free() has freed what is not returned */
static void open_stream(struct request *request, struct admission *admission)
{
    struct port_stream *stream = new_stream();
    if (stream == NULL) {
        answer_error(request, 500, api_error_of_errno(errno), "The ports cannot be listed: %s",
                     error_text(errno));
    } else if (sse_begin(request) == 0 && strcmp(request_method(request), "HEAD") != 0) {
        stream_open(request, &stream->source, admission);
    } else {
        port_stream_free(&stream->source);
    }
}
ANALYZER_ON

static void ports_streaming(struct request *request, const struct json_body *query)
{
    (void)query;
    cleanup_(admission_leave) struct admission admission = {0};
    if (!admission_enter(&admission, ADMISSION_STREAM, request)) {
        return;
    }
    if (port_table_look(0) < 0) {
        answer_error(request, 500, api_error_of_errno(errno), "The ports cannot be listed: %s",
                     error_text(errno));
        return;
    }
    enum procd_result result = port_table_ask(true);
    if (result == PROCD_DONE) {
        open_stream(request, &admission);
    } else {
        answer_procd_failure(request, result);
    }
}

const struct endpoint ports_streaming_endpoint = {
    API_ROW(ports_streaming),
    .about = "Streams which TCP ports listen: all of them, then each change.",
    .handle = ports_streaming,
};

/*
 * Streams: answers that follow something, mostly on the disk, and outlast the handler that began
 * them. One thread sends all of them, woken by inotify, epoll and other threads. A stream that has
 * nothing to send costs a few hundred bytes. A client that does not read delays its own stream
 * only, because what was not sent yet stays with the stream's source.
 */
#pragma once

#include "fcgi-app/http/sse.h"
#include "fcgi-app/streams/stream_source.h"

struct admission;
struct request;
struct watch_table;

/* Makes the thread. 0, or -1 with errno. Call once, before the first request. */
int streams_start(void);

/* Wakes the streams that have no directory: there may be news for them. Thread-safe. */
void streams_tell(void);

/* The watches, of which the streams' thread takes the reports. For ever. */
struct watch_table *streams_watches(void);

/*
 * Sends what the source has, until it or the server ends. Takes over, in any case: the request,
 * whose answer has begun; and the source. Takes the admission over unless it fails, in which case
 * it aborts the request. The handler returns at once. Thread-safe.
 */
void stream_open(struct request *request, struct stream_source *source,
                 struct admission *admission);

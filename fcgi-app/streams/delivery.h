/*
 * What one stream sends to its client: the events of its source, one after the other, each whole
 * before the next. Short events are rendered here, because a source could not hand them out twice.
 * A delivery belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/outlet.h"
#include "fcgi-app/http/sse.h"

struct request;
struct stream_source;

struct delivery {
    struct outlet outlet;
    struct stream_source *source; /* owned */
    struct admission admission;
    char *request_id;
    char event[SSE_SHORT_SIZE]; /* a short event */
    size_t event_length, event_sent;
    bool ending;       /* that event is the last */
    int64_t last_sent; /* ms */
    int64_t due;       /* ms, of PROGRESS_LATER */
};

enum progress {
    PROGRESS_MORE,
    PROGRESS_NOTHING, /* the source has nothing */
    PROGRESS_LATER,   /* it has something at `due` */
    PROGRESS_FULL,    /* the connection takes no more */
    PROGRESS_WHOLE,   /* the answer has its end, and the connection can serve on */
    PROGRESS_CUT,     /* it has not, or the client has left */
};

/* Takes the begun answer of a request over, and the source and the admission with it. 0, or -1: it
 * has taken nothing. */
int delivery_begin(struct delivery *delivery, struct request *request, struct stream_source *source,
                   struct admission *admission);

/* Sends what comes next, through `size` bytes of a buffer; does not wait. */
enum progress delivery_step(struct delivery *delivery, char *buffer, size_t size, bool is_stopping);

/* A comment comes next, if nothing else is on its way. Whether it does. */
bool delivery_interject(struct delivery *delivery, const char *text);

/* Gives all back. `whole`: after PROGRESS_WHOLE. */
void delivery_end(struct delivery *delivery, bool whole);

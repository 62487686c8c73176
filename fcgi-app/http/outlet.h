/*
 * The outlet of an answer that was taken from its thread (request_detach): sends without blocking.
 * Belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/fastcgi_record.h"
#include "fcgi-app/http/metrics.h"

#define OUTLET_END_SIZE (3 * RECORD_HEADER_SIZE)

struct outlet {
    int fd; /* the connection to nginx; owned */
    int request_id;
    size_t record_left; /* bytes of the answer that the record begun still needs */
    unsigned char header[RECORD_HEADER_SIZE];
    size_t header_left; /* the last bytes of `header` are not sent yet */
    unsigned char end[OUTLET_END_SIZE];
    size_t end_left; /* the same of `end` */
    struct measured measured;
    void (*give_back)(int fd, bool reuse);
};

/* `give_back` takes the connection over at the end: to serve further requests on it, or to close it
 * if not `reuse`. */
void outlet_init(struct outlet *outlet, int fd, int request_id,
                 void (*give_back)(int fd, bool reuse));

/*
 * Sends the next bytes of the answer: how many it took, fewer than `length` when the connection is
 * full (wait until it is writable, then go on with the rest), or -1 when the client left.
 */
ssize_t outlet_send(struct outlet *outlet, const char *data, size_t length);

/* Ends the answer; all it began must be sent. 1 when that is done, 0 when the connection is full,
 * -1 when the client left. */
int outlet_end(struct outlet *outlet);

/* The answer has ended, or has failed: gives the connection back. */
void outlet_close(struct outlet *outlet, bool reuse);

/*
 * A request without a server: its body comes from memory, its answer goes into memory. Stands in
 * for fcgi-app/http/fcgi.c in the unit tests of endpoints.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-app/http/request.h"

struct request {
    const char *body;
    const char *content_encoding; /* NULL: none */
    const char *query;            /* NULL: empty */
    const char *param;            /* every other of nginx's; NULL: empty */
    size_t body_length;
    size_t body_read;
    size_t piece_max;    /* bytes that one request_read() gives at most; 0: no limit */
    bool cut;            /* the client leaves at the end of the body */
    size_t writable_max; /* bytes of answer after which the client leaves; 0: never */
    bool discard;        /* only count the answer's bytes */
    bool only_reads;     /* its endpoint changes nothing */
    int status;          /* 0: no answer yet */
    const char *note;    /* of request_note(), or NULL */
    bool aborted;
    char *answer; /* NUL-terminated; NULL while empty */
    size_t answer_length, answer_capacity;
};

/* A request with a body of `length` bytes (borrowed). */
struct request fake_request(const char *body, size_t length);

/* Frees the answer. */
void fake_request_clear(struct request *request);

/*
 * Caps on kinds of requests: commands that run for clients that wait for them (SANDBOX_MAX_RUNS),
 * and logs, ports and files that are followed (SANDBOX_MAX_STREAMS); one more gets 429. Transfers
 * of files (SANDBOX_MAX_TRANSFERS): one more gets 503, because some clients of uploads give up at
 * 429. procd counts background processes, places.h all requests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct request;

enum admission_kind {
    ADMISSION_RUN,      /* a command of /run or /run_streaming */
    ADMISSION_STREAM,   /* of logs, ports and changes of files */
    ADMISSION_TRANSFER, /* a request of the trait RAW or WALKS */
    ADMISSION_KINDS,
};

/* A place that a request has taken; zeroed: none. It may be moved by copying, and is left once. */
struct admission {
    enum admission_kind kind;
    bool held;
};

/* Remembers how many there may be, 0: any number. Call once, before threads. */
void admission_init(uint64_t runs_max, uint64_t streams_max, uint64_t transfers_max);

/* Takes a place of this kind. False when there is none. Thread-safe, as the others. */
bool admission_try(struct admission *admission, enum admission_kind kind);

/*
 * The same. When there is none the request has been answered with 429. Its body should be read by
 * then, or nginx may lose what follows it.
 */
bool admission_enter(struct admission *admission, enum admission_kind kind,
                     struct request *request);

/* Gives the place back, if there is one. For cleanup_(). */
void admission_leave(struct admission *admission);

/* How many have a place now. */
unsigned admission_count(enum admission_kind kind);

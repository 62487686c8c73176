/*
 * The state of the whole server at one moment, as fcgi-app and procd know it together: for
 * GET /health?full=1 and GET /metrics.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "procd/wire/client.h"

/* -1: unknown. */
struct server_state {
    bool has_procd; /* it answered. Otherwise the next three are unknown: */
    struct procd_status procd;
    int64_t zombies;       /* of the server and of commands */
    int64_t log_bytes;     /* of background processes, on disk */
    int64_t requests;      /* in progress */
    int64_t backlog;       /* connections that wait for fcgi-app */
    int64_t runs;          /* foreground commands */
    int64_t streams;       /* of logs */
    int64_t dropped_lines; /* of the server's own log, since it was started */
    int64_t since_drop_ms; /* how long ago the last of them was; -1: there was none */
};

/* Collects the state. procd may take `timeout_ms` to answer the first question. A result other than
 * PROCD_DONE says why it did not answer. Thread-safe. */
enum procd_result server_state_take(struct server_state *state, int timeout_ms);
